# SPDX-License-Identifier: MIT
"""Processes of this machine: watching one end, finding those of one sshd, files and memory in use."""

import os
import select
import signal

from waiting import NotInTime


class Watch:
    """Holds a process by a pidfd, so that its end is an event and its number cannot be taken for another's."""

    def __init__(self, pid):
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    def gone(self, timeout=0.0):
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def await_gone(self, timeout=15.0):
        if not self.gone(timeout):
            raise NotInTime(f"process {self.pid} is still there after {timeout:g} s: {cmdline(self.pid)}")

    def kill(self, number=signal.SIGKILL):
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            pass

    def close(self):
        os.close(self.fd)


def interruptible(words):
    """The command line under which a program hears SIGINT even where this process ignores it, as jobs in the background of
    a shell without job control do: what is ignored is inherited."""
    return ["env", "--default-signal=INT", *words]


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"


def environ(pid):
    """Its environment as a dict of bytes; empty where it is gone or not ours to read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            pairs = f.read().split(b"\0")
    except OSError:
        return {}
    return dict(p.split(b"=", 1) for p in pairs if b"=" in p)


def alive(pid):
    """Whether it runs; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


def state(pid):
    """The letter of proc(5), "" where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return ""


def every():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(pid):
    parents = {}
    for one in every():
        try:
            with open(f"/proc/{one}/stat", "rb") as f:
                parents.setdefault(int(f.read().rpartition(b")")[2].split()[1]), []).append(one)
        except OSError:
            continue
    found, todo = [], [pid]
    while todo:
        for child in parents.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def of_ssh_port(port):
    """Processes that were started through the sshd on `port`, wherever they have gone since: sshd puts the port into
    their environment, and children inherit it."""
    tail = b" %d" % port
    return [pid for pid in every() if environ(pid).get(b"SSH_CONNECTION", b"").endswith(tail) and alive(pid)]


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", "rb") as f:
        fields = f.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
