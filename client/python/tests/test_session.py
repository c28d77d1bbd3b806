# SPDX-License-Identifier: MIT
"""The session by itself, byte by byte, and what the package makes of a daemon that does not keep to the protocol."""

import os
import re
import socket
import threading

import pytest

import sshlease
from conftest import ROOT
from sshlease import _wire as wire
from sshlease._session import ASKING, GRANTED, OVER, RELEASING, Session

GRANT = (1, 7, 900000, 9000000, 8)  # rid, lease, lease_timeout_ms, max_lease_ms, streams


def example():
    """The frames of PROTOCOL.md's example: {"C": [(type, frame) …], "D": …}."""
    with open(os.path.join(ROOT, "proto", "PROTOCOL.md"), encoding="utf-8") as f:
        text = f.read().partition("## Example")[2].split("```")[1]
    frames = {"C": [], "D": []}
    for who, name, data in re.findall(r"^([CD]) (\w+) ((?:[ ]*[0-9a-f]+(?:\n(?= ))?)+)$", text, re.MULTILINE):
        frames[who].append((name, bytes.fromhex("".join(data.split()))))
    return frames


def new(granted=True):
    session = Session("web1")
    session.start("example 1.0", 30000, 0, "tests")
    if granted:
        session.feed(wire.encode(wire.WELCOME, 1, "x") + wire.encode(wire.GRANTED, *GRANT))
        session.out.clear()
        assert session.state is GRANTED
    return session


def opened(session, **more):
    bins = (bytearray(), bytearray())
    stream = session.open(wire.EXEC, "true", None, (), bins=bins, **{"collect": False, **more})
    session.feed(wire.encode(wire.STREAM_OPENED, stream.rid, stream.id, 1000))
    session.out.clear()
    return stream, *bins


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_documents_example(size):
    frames = example()
    assert [name for name, _ in frames["C"]] == ["HELLO", "ACQUIRE", "STREAM_OPEN", "WINDOW", "RELEASE"]
    sent, (_, release) = dict(frames["C"]), frames["C"][-1]
    session = new(granted=False)
    assert bytes(session.out) == sent["HELLO"] + sent["ACQUIRE"]
    session.out.clear()
    answers = dict(frames["D"])

    def hear(*names):
        data = b"".join(answers[name] for name in names)
        for at in range(0, len(data), size):
            session.feed(data[at:at + size])
    hear("WELCOME")
    assert session.state is ASKING
    hear("GRANTED")
    assert (session.state, session.lease_id, session.streams_max) == (GRANTED, 4294967299, 8)
    out, err = bytearray(), bytearray()
    stream = session.open(wire.EXEC, "echo hello; exit 3", None, [("LANG", "C")], window=65536, bins=(out, err),
                          collect=False)
    assert bytes(session.out) == sent["STREAM_OPEN"]
    hear("STREAM_OPENED", "DATA", "EOF", "STREAM_END")
    assert (bytes(out), bytes(err), stream.how, stream.exit_status) == (b"hello\n", b"", wire.END_STATUS, 3)
    session.out.clear()
    session.release()
    assert session.state is RELEASING and bytes(session.out) == release
    hear("OK")
    assert session.state is OVER


def test_waiting_is_told():
    session = new(granted=False)
    session.feed(wire.encode(wire.WELCOME, 1, "x") + wire.encode(wire.WAITING, 1, 3, 5000, "all are leased"))
    assert session.waiting == [(3, 5.0, "all are leased")] and session.state is ASKING


def test_credit_comes_back_when_half_is_read():
    session = new()
    stream, out, _ = opened(session, window=1000)
    session.feed(wire.encode(wire.DATA, stream.id, 0, b"x" * 400) + wire.encode(wire.DATA, stream.id, 1, b"x" * 600))
    assert not session.out and len(out) == 400
    session.took(stream, 400)
    assert not session.out
    session.took(stream, 200)
    assert bytes(session.out) == wire.encode(wire.WINDOW, stream.id, 600)
    session.feed(wire.encode(wire.DATA, stream.id, 0, b"x" * 600))
    assert not session.is_over()
    session.feed(wire.encode(wire.DATA, stream.id, 0, b"x"))
    assert session.why[0] == 3 and stream.over and stream.why[0] == 3


def test_what_is_dropped_counts_as_read():
    session = new()
    stream, _, _ = opened(session, window=1000)
    session.feed(wire.encode(wire.DATA, stream.id, 0, b"x" * 400))
    session.discard(stream)
    assert bytes(session.out) == wire.encode(wire.CLOSE, stream.id)
    session.out.clear()
    session.feed(wire.encode(wire.DATA, stream.id, 0, b"x" * 200))
    assert bytes(session.out) == wire.encode(wire.WINDOW, stream.id, 600)


@pytest.mark.parametrize("eof, how, gave_up", [
    (False, wire.END_STATUS, True), (True, wire.END_STATUS, False), (True, wire.END_SIGNAL, True)])
def test_giving_a_command_up(eof, how, gave_up):
    """One whose output had ended was over most likely; only its end tells."""
    session = new()
    stream, _, _ = opened(session)
    if eof:
        session.feed(wire.encode(wire.EOF, stream.id))
        assert not session.nothing_ends()
    session.discard(stream)
    session.feed(wire.encode(wire.STREAM_END, stream.id, how, 0, "TERM", False, ""))
    assert session.nothing_ends() and session.gave_up == gave_up


def test_input_keeps_to_the_credit():
    session = new()
    stream, _, _ = opened(session)
    assert session.send(stream, memoryview(b"y" * 1500)) == 1000
    assert bytes(session.out) == wire.encode(wire.DATA, stream.id, 0, b"y" * 1000)
    session.out.clear()
    session.feed(wire.encode(wire.WINDOW, stream.id, 40000))
    assert session.send(stream, memoryview(b"y" * 50000)) == 40000
    assert bytes(session.out) == (wire.encode(wire.DATA, stream.id, 0, b"y" * 32768)
                                  + wire.encode(wire.DATA, stream.id, 0, b"y" * 7232))
    session.feed(wire.encode(wire.WINDOW, stream.id, 16777216))
    assert not session.is_over()
    session.feed(wire.encode(wire.WINDOW, stream.id, 1))
    assert session.is_over()


def test_late_messages_are_fine_and_others_are_not():
    session = new()
    stream, _, _ = opened(session)
    session.feed(wire.encode(wire.STREAM_END, stream.id, 0, 0, "", False, ""))
    for late in ((wire.DATA, stream.id, 0, b"x"), (wire.WINDOW, stream.id, 5), (wire.EOF, stream.id), (wire.RENEWED, 99, 5)):
        session.feed(wire.encode(*late))
        assert not session.is_over()
    session.feed(wire.encode(wire.EOF, stream.id + 1))
    assert session.why[0] == 3


@pytest.mark.parametrize("wrong", [
    (wire.GRANTED, 2, *GRANT[1:]), (wire.WELCOME, 1, "again"), (wire.LEASE_ENDED, 8, 31, ""), (wire.CLOSE, 1),
    (wire.STATUS_REPLY, 1, False, b"{}")], ids=lambda w: wire.NAMES[w[0]])
def test_violations(wrong):
    session = new()
    session.feed(wire.encode(*wrong))
    assert session.why[0] == 3


def test_renewal():
    session = new()
    now = session.deadline - 900
    assert session.renew_at == pytest.approx(now + 300)
    session.tick(session.renew_at - 1)
    assert not session.out
    session.tick(session.renew_at)
    assert bytes(session.out) == wire.encode(wire.RENEW, 2, 0)
    session.tick(session.deadline)
    assert len(session.out) == 16  # one is enough
    session.feed(wire.encode(wire.RENEWED, 2, 60000))
    assert session.renew_at == pytest.approx(session.deadline - 40)
    session.max_deadline = session.deadline
    session.feed(wire.encode(wire.RENEWED, 2, 60000))
    assert session.renew_at == float("inf")  # it cannot get longer


class FakeDaemon:
    """Listens, and says what it was told to to whoever connects."""

    def __init__(self, path, *says):
        self.path, self.says = str(path), says
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        sock, _ = self.listener.accept()
        with sock:
            for part in self.says:
                if part is None:
                    self.listener.close()  # as a process ends
                    return
                sock.sendall(part)
            while sock.recv(4096):
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


@pytest.mark.parametrize("says, kind, text", [
    ([b"SSH-2.0-OpenSSH_9.2\r\n"], sshlease.SshleaseError, "does not speak"),
    ([wire.encode(wire.WELCOME, 4, "later")], sshlease.Refused, "version 4"),
    ([wire.encode(wire.ERROR, 0, 4, True, "versions 3 to 4 are spoken here"), None], sshlease.Refused, "3 to 4"),
    ([wire.encode(wire.ERROR, 0, 6, True, "too many clients"), None], sshlease.Busy, "too many"),
    ([None], sshlease.DaemonGone, "closed the connection"),
    ([wire.encode(wire.WELCOME, 1, "x"), None], sshlease.DaemonGone, "closed the connection"),
    ([wire.encode(wire.WELCOME, 1, "x"), wire.encode(wire.ERROR, 1, 199, False, "later\x1b[31m \x9b1m \u202e\u2028")], sshlease.SshleaseError,
     r"later\?\[31m \?1m \?\?"),
], ids=lambda v: None)
def test_a_daemon_that_is_none(tmp_path, says, kind, text):
    with FakeDaemon(tmp_path / "s", *says) as fake, pytest.raises(kind, match=text) as caught:
        sshlease.lease("web1", socket=fake.path)
    assert caught.value.target == "web1"


def test_a_daemon_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sshlease._lease, "ANSWER_SECONDS", 0.2)
    with FakeDaemon(tmp_path / "s") as fake, pytest.raises(sshlease.Timeout, match="does not answer"):
        sshlease.lease("web1", socket=fake.path)
    with FakeDaemon(tmp_path / "s2", wire.encode(wire.WELCOME, 1, "x")) as fake, pytest.raises(sshlease.Timeout):
        sshlease.lease("web1", socket=fake.path, timeout=0.1)


def test_who_waits_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sshlease._lease, "CLOSE_SECONDS", 0.1)
    told = []
    with FakeDaemon(tmp_path / "s", wire.encode(wire.WELCOME, 1, "x"), wire.encode(wire.WAITING, 1, 2, 5000, "busy"),
                    wire.encode(wire.WAITING, 1, 1, 7000, "busy"), wire.encode(wire.GRANTED, *GRANT)) as fake:
        with sshlease.lease("web1", socket=fake.path, on_waiting=lambda *a: told.append(a)) as c:
            assert c.id == 7
    assert told == [(2, 5.0, "busy"), (1, 7.0, "busy")]


@pytest.mark.parametrize("ended", [False, True])
def test_who_reads_to_the_end_and_goes_has_not_given_up(ended):
    """Between the end of the output and the word how the command ended its owner may go, as programs written for paramiko
    do. The connection is as good as before."""
    session = new()
    stream, _, _ = opened(session)
    if ended:
        session.feed(wire.encode(wire.EOF, stream.id))
    session.discard(stream)
    assert bytes(session.out) == wire.encode(wire.CLOSE, stream.id)
    assert session.gave_up is not ended and session.nothing_ends() is not ended
    session.feed(wire.encode(wire.STREAM_END, stream.id, wire.END_STATUS, 3, "", False, ""))
    assert session.nothing_ends()
    (record,) = session.history
    assert record.outcome() == ("exit 3" if ended else "no end seen")
