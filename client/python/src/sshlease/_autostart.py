# SPDX-License-Identifier: MIT
"""Starting a daemon of the user's own when none is listening: exactly one, however many programs want one at once.

Who holds the lock starts it; the others wait for the lock, and then find it listening. It is ready when it says so, as to
systemd, or when its socket answers; nobody sleeps. It outlives the program that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from typing import Iterator

from ._connect import connect
from ._errors import NO_DAEMON, NoDaemon, hidden

__tracebackhide__ = hidden

READY_SECONDS = 20.0
# How long a daemon that the log of ours speaks of may take until it answers.
OTHERS = "another daemon"
OTHERS_SECONDS = 3.0


def _fail(text: str, target: str) -> NoDaemon:
    return NoDaemon(text, target=target, code=NO_DAEMON, unsent=True)


@contextlib.contextmanager
def _lock(path: str, target: str) -> Iterator[None]:
    """Held by one process at a time; the kernel gives it back when that ends."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + 2 * READY_SECONDS
        pause = select.poll()  # of nothing: there is no event for a lock with a deadline
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _fail(f"another program holds {path} and starts no sshleased", target) from None
                pause.poll(20)
        yield
    finally:
        os.close(fd)


def start_daemon(path: str, target: str = "") -> socket.socket:
    """A connection to the user's daemon at `path`, which is started if it does not listen. The program is $SSHLEASE_DAEMON,
    else sshleased in $PATH. NoDaemon says what went wrong."""
    path = os.path.abspath(path)
    program = os.environ.get("SSHLEASE_DAEMON") or shutil.which("sshleased") or shutil.which(
        "sshleased", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    if not program:
        raise _fail("cannot start a sshleased: there is none in PATH, and SSHLEASE_DAEMON names none", target)
    try:
        with _lock(f"{path}.autostart", target):
            with contextlib.suppress(NoDaemon):
                return connect(path, target)  # somebody was quicker
            return _start(program, path, target)
    except OSError as e:
        if isinstance(e, NoDaemon):
            raise
        raise _fail(f"cannot start a sshleased: {e}", target) from e


def _start(program: str, path: str, target: str) -> socket.socket:
    log = f"{path}.log"
    ours = ("NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_")  # what systemd says to this program is not for the daemon
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with tempfile.TemporaryDirectory(prefix="sshlease-") as directory, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(os.path.join(directory, "notify"))
        # The shell leaves it to init, so that nobody has a child he did not ask for; it says its number.
        shell = subprocess.run(
            ["/bin/sh", "-c", '"$@" </dev/null >/dev/null 2>"$0" & echo $!', log, program, "--user", "--socket", path],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/", check=True,
            env={**env, "NOTIFY_SOCKET": os.path.join(directory, "notify")})
        try:
            process = os.pidfd_open(int(shell.stdout))
        except ProcessLookupError:
            raise _ended(program, log, target) from None
        try:
            return _await_ready(notify, process, program, path, log, target)
        finally:
            os.close(process)


def _await_ready(notify: socket.socket, process: int, program: str, path: str, log: str, target: str) -> socket.socket:
    poll = select.poll()
    poll.register(notify, select.POLLIN)
    poll.register(process, select.POLLIN)
    deadline = time.monotonic() + READY_SECONDS
    ended = False
    while True:
        # A build without libsystemd says nothing; then a socket that answers will do.
        events = [fd for fd, _ in poll.poll(50)]
        if process in events:
            # Ours has ended. Perhaps because one listens already that somebody else has started, or has lost its socket
            # and is about to make it again.
            ended = True
            poll.unregister(process)
            deadline = time.monotonic() + (OTHERS_SECONDS if OTHERS in _said(log) else 0)
        if notify.fileno() in events:
            notify.recv(4096)
        with contextlib.suppress(NoDaemon):
            return connect(path, target)
        if ended and time.monotonic() > deadline:
            raise _ended(program, log, target)
        if time.monotonic() > deadline:
            raise _fail(f"{program} is not ready after {READY_SECONDS:g} s; see {log}", target)


def _said(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as f:
            return f.read()[-4000:]
    except OSError:
        return ""


def _ended(program: str, log: str, target: str) -> NoDaemon:
    said = _said(log).strip().splitlines()
    errors = [line for line in said if " error " in line]
    return _fail(f"{program} ended at once" + (f": {(errors or said)[-1]}" if said else ""), target)
