# SPDX-License-Identifier: MIT
"""The log when somebody does not read it, and when somebody fills it."""

import fcntl
import os
import pwd
import re
import socket
import subprocess
import threading
import time

import pytest

import daemon as daemon_module
import native
from logs import Log

ANSWER_S = 10.0 if daemon_module.is_sanitized() else 1.0


def fill(fd):
    """Until a writer has to wait. The descriptor stays as it was."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    count = 0
    for size in (4096, 1):
        try:
            while True:
                count += os.write(fd, b"\n" * size)
        except BlockingIOError:
            pass
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    return count


class Reader:
    """What Log follows: nothing, before open.set()."""

    def __init__(self, stream):
        self.stream = stream
        self.open = threading.Event()

    def __iter__(self):
        self.open.wait()
        return iter(self.stream)

    def close(self):
        self.stream.close()


class UnreadDaemon(daemon_module.Daemon):
    """Its standard error is full from the beginning: a pipe, or a socket as the journal's."""

    def __init__(self, kind, *args, **options):
        self.kind = kind
        super().__init__(*args, start=False, **options)

    def spawn(self):
        env = self.environment()
        if self.kind == "pipe":
            ours, theirs = os.pipe()
        else:
            ours, theirs = (end.detach() for end in socket.socketpair())
            st = os.fstat(theirs)
            env["JOURNAL_STREAM"] = f"{st.st_dev}:{st.st_ino}"
        fill(theirs)
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=theirs, env=env, cwd="/")
        self.flags = fcntl.fcntl(theirs, fcntl.F_GETFL)
        os.close(theirs)
        self.reader = Reader(os.fdopen(ours, "rb"))
        self.log = Log(self.reader, os.path.join(self.dir, "log"))

    def stop(self):
        self.reader.open.set()
        super().stop()


@pytest.fixture(params=["pipe", "socket"])
def unread(request, sshd, target):
    one = UnreadDaemon(request.param, {"targets": {"t": target(sshd)}}, args=["--log-level", "debug"])
    one.start()
    yield one
    one.stop()


def test_nobody_waits_for_a_log_that_is_not_read(unread):
    """More lines than are kept; the command of somebody else takes as long as ever. When the log is read again it is
    all there, but for what is counted."""
    slowest = 0.0
    with native.Client(unread.path, timeout=ANSWER_S) as client:
        client.acquire("t")
        for _ in range(40):
            for _ in range(100):
                with native.Client(unread.path, timeout=ANSWER_S):  # a line for each that comes, and that goes
                    pass
            begun = time.monotonic()
            assert client.run("echo here", timeout=ANSWER_S).stdout == b"here\n"
            slowest = max(slowest, time.monotonic() - begun)
    assert slowest < ANSWER_S
    print(f"the slowest command took {slowest * 1000:.1f} ms")
    unread.reader.open.set()
    lost = unread.log.find(r"(\d+) lines were lost here: nobody read them in time")
    assert int(lost[1]) > 1000
    assert unread.log.matches(r"\bstart version="), "the oldest lines are kept"
    mark = unread.log.mark()
    with native.Client(unread.path, program="afterwards"):
        unread.log.find("afterwards", after=mark)


def test_an_end_with_a_log_that_is_not_read(unread):
    """What is not written after a second is left."""
    unread.process.terminate()
    begun = time.monotonic()
    assert unread.process.wait(20) == 0
    assert time.monotonic() - begun < 15


@pytest.mark.root
def test_a_flood_is_cut(make_daemon, sshd, target):
    """One user's refusals end after a few hundred lines; another's are logged all the same. Their number is told."""
    nobody = pwd.getpwnam("nobody")
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    sent = 3000
    with native.Client(daemon.path) as client:
        rids = [client.start_acquire("there-is-none") for _ in range(sent)]
        for rid in rids:
            client.answer("ERROR", rid=rid)
    mark = daemon.log.mark()
    daemon.cli("exec", "other-one", "--", "true", user=nobody)
    daemon.log.find(rf"uid={nobody.pw_uid} .*-> refused .*other-one", after=mark)
    told = daemon.log.find(r'warning log uid=0 kind="refusals": (\d+) more like these were not logged', timeout=30)
    written = len(daemon.log.matches(r"uid=0 .*-> refused .*there-is-none"))
    assert 200 <= written < 1000
    assert written + int(told[1]) == sent


NASTY = b"\x1b[31m \x9b31m \xc2\x9b31m \x7f \xff\xc3( \xe2\x80\xae \xe2\x80\xa8 \xc3\xbc\n<2>forged"


def test_a_line_is_text_whatever_a_client_says(make_daemon, sshd, target):
    """journalctl shows "[blob data]" instead of a line that is not, and a terminal obeys it."""
    daemon = make_daemon({"targets": {"t": target(sshd)}}, args=["--log-level", "debug"])
    with daemon.leased(label=NASTY) as client:
        client.exec("sleep 100", env=((b"LC_" + NASTY, NASTY),)).await_opened()
    daemon.log.find(r"label=.*ü.*-> ended")
    with native.Client(daemon.path, program=NASTY) as client:
        with pytest.raises(native.Error):
            client.acquire(NASTY)
    daemon.log.find(r"-> refused .*no such target: .*ü")
    with native.Client(daemon.path) as client:
        client.send_raw(NASTY * 100)
        client.await_closed()
    daemon.log.find("reason=violation")
    with open(daemon.log.path, "rb") as f:
        text = f.read().decode()  # raises where it is no UTF-8
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", text)
    assert "\n<2>" not in text
