# SPDX-License-Identifier: MIT
"""popen(), shell(), subsystem(): streams, and many at once."""

import hashlib
import io
import os
import random
import re
import resource
import signal
import subprocess
import threading
import time

import pytest

import sshlease
from waiting import until


def test_streams(c):
    with c.popen("read line; echo got $line; echo err >&2; cat", encoding="utf-8") as p:
        p.stdin.write("first\n")
        assert p.stdout.readline() == "got first\n"
        assert p.stderr.readline() == "err\n"
        p.stdin.write("second\nthird\n")
        p.stdin.close()
        assert list(p.stdout) == ["second\n", "third\n"]
        assert p.stderr.read() == ""
    assert p.returncode == 0 and p.poll() == 0 and p.wait() == 0


def test_poll_and_signals(c, sshd):
    p = c.popen("trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done", encoding="ascii")
    assert p.poll() is None
    assert p.stdout.readline() == "ready\n"
    with pytest.raises(sshlease.CommandTimeout):
        p.wait(0.05)
    p.terminate()
    assert p.stdout.readline() == "caught\n"
    assert p.wait(20) == 7
    p.close()
    with c.popen("echo ready; exec sleep 4000") as p:
        p.stdout.readline()  # sshd drops signals for a command that it has not quite started
        p.send_signal(signal.SIGUSR1)
        assert p.wait(20) == -signal.SIGUSR1 and p.signal == "USR1"
    with c.popen("echo ready; exec sleep 4000") as p:
        p.stdout.readline()
        p.kill()
    assert p.returncode == -signal.SIGKILL
    with pytest.raises(ValueError):
        p.send_signal("")


def test_close_ends_it(c, sshd):
    p = c.popen("echo ready; exec sleep 4000")
    p.stdout.readline()
    p.close()
    sshd.await_nothing_remote()
    with pytest.raises(sshlease.SshleaseError, match="closed by this program"):
        p.wait()
    with pytest.raises(ValueError):
        p.stdin.write(b"x")


def test_an_exception_ends_it(c, sshd):
    with pytest.raises(KeyError), c.popen("echo ready; exec sleep 4000") as p:
        p.stdout.readline()
        raise KeyError
    sshd.await_nothing_remote()


def test_dropping_it_ends_it(c, sshd):
    out = c.popen("echo ready; exec sleep 4000").stdout
    assert out.readline() == b"ready\n"  # a file is enough to keep it
    assert sshd.remote()
    del out
    sshd.await_nothing_remote()
    assert c.run("true").succeeded


def test_communicate(c):
    every = bytes(range(256)) * 8192  # 2 MiB, both ways at once
    p = c.popen("tee /dev/stderr")
    out, err = p.communicate(every, timeout=60)
    assert out == every and err == every and p.returncode == 0
    p = c.popen("echo begun; sleep 0.5; echo done")
    with pytest.raises(sshlease.CommandTimeout):
        p.communicate(timeout=0.1)
    assert p.communicate() == (b"begun\ndone\n", b"")
    assert c.popen("cat; exit 5", stdin=sshlease.DEVNULL, encoding="utf-8").communicate("unheard") == ("", "")


def test_redirections(c):
    out, err = c.popen("echo a; echo b >&2; echo c", stderr=sshlease.STDOUT).communicate()
    assert sorted(out.split()) == [b"a", b"b", b"c"] and err is None
    p = c.popen("head -c 3000000 /dev/zero >&2; echo fine", stderr=subprocess.DEVNULL)
    assert p.stderr is None and p.stdout.read() == b"fine\n"
    assert p.wait() == 0
    p = c.popen("head -c 3000000 /dev/zero; echo fine >&2", stdout=subprocess.DEVNULL)
    assert p.stdout is None and p.stderr.read() == b"fine\n" and p.wait() == 0
    for wrong in ({"stdin": 5}, {"stdout": sshlease.STDOUT}, {"stderr": 1}, {"window": 1}):
        with pytest.raises(ValueError):
            c.popen("true", **wrong)


def test_a_closed_file_stops_nobody(c):
    p = c.popen("head -c 3000000 /dev/zero >&2; echo fine")
    p.stderr.close()
    assert p.stdout.read() == b"fine\n"
    assert p.wait() == 0


def test_writing_to_what_has_ended(c):
    p = c.popen("exit 3")
    assert p.wait() == 3
    with pytest.raises(BrokenPipeError):
        p.stdin.write(b"x" * 1000000)
    p.close()


def test_a_lease_that_ends_cuts_streams_short(c, daemon):
    p = c.popen("echo begun; exec sleep 4000")
    p.stdout.readline()
    with daemon.client() as admin:
        admin.end(c.id)
    with pytest.raises(sshlease.Revoked):
        p.stdout.read()
    with pytest.raises(sshlease.Revoked):
        p.wait()
    with pytest.raises(sshlease.Revoked):
        c.popen("true")


def test_shell_without_terminal(c):
    assert c.shell(pty=False, encoding="utf-8").communicate("echo $((6 * 7))\nexit 4\n")[0].split()[-1] == "42"


@pytest.mark.pty
def test_shell(c):
    with c.shell(pty=(90, 20)) as p:
        p.stdin.write(b"stty -echo; PS1=; echo size $(stty size)\n")
        sizes = None
        while not sizes:
            sizes = re.search(rb"size (\d+ \d+)", p.stdout.readline())
        assert sizes[1] == b"20 90"
        p.resize(91, 21)
        p.stdin.write(b"until [ \"$(stty size)\" = '21 91' ]; do :; done; exit 9\n")
        p.stdout.read()
        assert p.wait() == 9


@pytest.mark.once
def test_100_mb(c):
    """As much out of the far side and in again, with the memory of a few windows."""
    size, chunk = 100_000_000, os.urandom(1 << 20)
    sent = hashlib.sha256()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with c.popen(f"head -c {size} /dev/zero") as p:
        count = 0
        while data := p.stdout.read1(1 << 20):
            count += len(data)
    assert count == size and p.returncode == 0
    with c.popen("sha256sum") as p:
        left = size
        while left:
            part = chunk[:min(left, len(chunk))]
            p.stdin.write(part)
            sent.update(part)
            left -= len(part)
        p.stdin.close()
        assert p.stdout.read().split()[0].decode() == sent.hexdigest()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10  # KiB


def test_what_nobody_reads_is_held_back(c):
    """No more than the window comes here; the rest waits over there, and another stream does not."""
    p = c.popen("head -c 3000000 /dev/zero; echo done >&2", window=65536)
    assert c.run("true").succeeded
    until(lambda: c.run("true").succeeded and len(p._bins[0]) == 65536, "the window to be full")
    assert p.poll() is None and len(p._bins[0]) == 65536
    out, err = p.communicate()
    assert len(out) == 3000000 and err == b"done\n"


@pytest.mark.once
def test_16_threads(make_daemon, make_sshd, target):
    server = make_sshd("MaxSessions 20")
    daemon = make_daemon({"targets": {"t": target(server, streams=17)}})
    problems = []
    with sshlease.lease("t", socket=daemon.path, lease_timeout=2) as c:
        def work(number):
            rng = random.Random(number)
            try:
                for turn in range(6):
                    data = rng.randbytes(rng.choice((0, 1, 1000, 300000)))
                    if turn % 2:
                        assert c.run("cat", input=data, encoding=None).stdout == data
                    else:
                        with c.popen("cat") as p:
                            assert p.communicate(data)[0] == data
            except BaseException as e:
                problems.append(e)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not problems
    daemon.await_connections(idle=1, leased=0)


def test_threads_wait_for_each_other_in_any_order(c):
    """Who reads the socket stops reading when its own command has ended; the others go on."""
    order = []
    pipes = [c.popen("cat") for _ in range(4)]

    def wait(number):
        pipes[number].wait()
        order.append(number)
    threads = [threading.Thread(target=wait, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for number in (2, 0, 3, 1):
        pipes[number].stdin.close()
        threads[number].join(20)
        assert order[-1] == number


def test_close_from_another_thread(lease):
    c = lease()
    caught = []

    def run():
        try:
            c.run("sleep 4000")
        except sshlease.SshleaseError as e:
            caught.append(e)
    threads = [threading.Thread(target=run) for _ in range(3)]
    for one in threads:
        one.start()
    until(lambda: len(c._session.streams) == 3 and all(s.opened for s in c._session.streams.values()), "the commands")
    c.close()
    for one in threads:
        one.join(20)
    assert [e.name for e in caught] == ["no-lease"] * 3


def test_a_timeout_in_one_thread_disturbs_no_other(c):
    def impatient():
        with pytest.raises(sshlease.CommandTimeout):
            c.run("sleep 4000", timeout=0.2)
    thread = threading.Thread(target=impatient)
    thread.start()
    begin = time.monotonic()
    assert c.run("sleep 0.5; echo fine").stdout == "fine\n"
    thread.join(20)
    assert time.monotonic() - begin < 15


def test_files_are_files(c):
    p = c.popen("printf 'a\\nb'")
    assert isinstance(p.stdout, io.BufferedReader) and p.stdin.writable() and not p.stdin.readable()
    assert p.stdout.readlines() == [b"a\n", b"b"]
    p.close()


@pytest.mark.once
def test_interrupted_at_any_moment(daemon):
    """An exception that a signal handler raises, wherever it strikes: what comes after is right, or the lease is over;
    nothing hangs, and no answer is taken for another's."""
    class Interrupted(Exception):
        pass
    armed = []

    def strike(*_):
        if armed:
            armed.clear()
            raise Interrupted

    def attempt(c, number):
        try:
            armed.append(True)
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 4e-3))
            assert c.run(f"echo {number}", timeout=30).stdout == f"{number}\n"
        finally:
            armed.clear()

    rng = random.Random(7)
    before = signal.signal(signal.SIGALRM, strike)
    c, struck, over = None, 0, 0
    try:
        for number in range(100):
            if c is None:
                c = sshlease.lease("t", socket=daemon.path)
            try:
                attempt(c, number)
            except Interrupted:
                struck += 1
            except sshlease.LeaseEnded:  # it struck while a message took effect
                over += 1
                c.close()
                c = None
            except sshlease.Busy:  # commands that were given up are still being ended
                c.close()
                c = None
        if c is not None:
            c.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert struck > 5 and over < struck


def test_exited_while_a_child_has_the_output(c):
    """As with subprocess: wait() and poll() are about the command, reading goes on."""
    p = c.popen("""sh -c 'trap "kill \\$!; echo late; exit" USR1; sleep 4000 & echo $$ waits; wait' & exit 3""")
    child = int(p.stdout.readline().split()[0])
    assert p.wait(20) == 3 and p.poll() == 3 and p.returncode == 3
    with pytest.raises(sshlease.CommandTimeout) as caught:
        p.communicate(timeout=0.1)
    assert caught.value.stdout == b""
    os.kill(child, signal.SIGUSR1)
    assert p.communicate(timeout=20) == (b"late\n", b"")


def test_a_daemon_of_an_old_version_tells_at_the_end(lease, monkeypatch):
    monkeypatch.setattr(sshlease._wire, "VERSION", 1)
    with lease() as old:
        assert old._session.version == 1
        p = old.popen("sleep 0.5 & echo x; exit 3")
        with pytest.raises(sshlease.CommandTimeout):
            p.wait(0.1)
        assert p.wait() == 3 and p.stdout.read() == b"x\n"


CUT = "printf 'one\\ntwo gr\\303'; printf 'a\\nbc' >&2; exec sleep 4000"


@pytest.mark.parametrize("encoding", [None, "utf-8"])
def test_what_came_before_the_cut(daemon, encoding):
    """Where a lease ends in mid-output: lines come, and the last part of one; then it raises and goes on raising. What
    collects carries what it had. As for asyncio."""
    def text(data):
        return data if encoding is None else data.decode(encoding, "replace")

    def cut():
        one = sshlease.lease("t", socket=daemon.path)
        p = one.popen(CUT, encoding=encoding, stderr=sshlease.PIPE)
        until(lambda: one._link.look() or list(map(len, p._bins)) == [11, 4], "the output")
        with daemon.client() as admin:
            admin.end(one.id)
        return one, p

    def raises(call, *carried):
        with pytest.raises(sshlease.Revoked) as caught:
            call()
        assert (caught.value.stdout, caught.value.stderr) == (carried or (None, None))

    one, p = cut()
    lines = []
    with pytest.raises(sshlease.Revoked):
        for line in p.stderr:
            lines.append(line)
    assert lines == [text(b"a\n"), text(b"bc")]
    raises(p.stderr.readline)
    raises(lambda: p.stderr.read(1))
    assert p.stderr.read(0) == p.stderr.readline(0) == text(b"")
    assert p.stdout.read(8) == text(b"one\ntwo ")
    if encoding is None:
        assert p.stdout.read(100) == b"gr\xc3"
        raises(lambda: p.stdout.readinto(bytearray(3)))
        raises(lambda: p.stdout.read1(3))
    raises(p.stdout.read, text(b"gr\xc3")[3:] if encoding is None else text(b"\xc3"), None)
    one.close()

    one, p = cut()
    raises(p.stderr.readlines, None, text(b"a\nbc"))
    raises(p.stderr.readlines, None, text(b""))
    raises(p.stdout.read, text(b"one\ntwo gr\xc3"), None)
    one.close()
