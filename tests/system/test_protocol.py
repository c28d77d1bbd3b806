# SPDX-License-Identifier: MIT
"""What the daemon makes of clients that say something wrong: one readable error in bounded time, the socket closed, nobody
else hurt."""

import json
import os
import random
import signal
import socket
import struct
import time

import pytest

import native
from native import Client, encode, frame, string
from waiting import until

HELLO = encode("HELLO", magic=b"sshlease", version_min=1, version_max=1, program="test")


def fatal(client, timeout=15.0):
    """The ERROR with request id 0 that ends a socket; insists that the socket is closed next."""
    with pytest.raises(native.Error) as e:
        client.pump(lambda: False, timeout)
    client.answers.clear()
    client.await_closed()
    assert len(e.value.text) > 5 and e.value.text.isprintable(), e.value.text
    return e.value


@pytest.fixture
def raw(daemon):
    """A socket without a HELLO, to the daemon; which has to be alive and serving when the test is over."""
    def make(data=b""):
        client = daemon.client(hello=False)
        client.send_raw(data)
        return client
    yield make
    assert daemon.leased().run("echo alive").stdout == b"alive\n"


VIOLATIONS = {
    "length 0": struct.pack(">I", 0) + b"....",
    "length 3": struct.pack(">I", 3) + b"...",
    "length too large": struct.pack(">I", 262145),
    "length huge": struct.pack(">II", 0xffffffff, 1),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(4096),
    "unknown type": HELLO + frame(99),
    "type of the daemon's": HELLO + encode("OK", rid=1),
    "no HELLO": encode("STATUS", rid=1),
    "second HELLO": HELLO + HELLO,
    "wrong magic": encode("HELLO", magic=b"sshleasy", version_min=1, version_max=1, program=""),
    "truncated HELLO body": frame(1, string("sshlease") + b"\0\0"),
    "truncated ACQUIRE": HELLO + frame(10, struct.pack(">I", 1) + string("t")),
    "trailing bytes": HELLO + frame(30, struct.pack(">I", 1) + b"x"),
    "string beyond the body": HELLO + frame(10, struct.pack(">II", 1, 1000) + b"t"),
    "request id 0": HELLO + encode("STATUS", rid=0),
    "NUL in a name": HELLO + encode("ACQUIRE", rid=1, target="t\0x", acquire_timeout_ms=0, lease_timeout_ms=0, label=""),
    "long name": HELLO + encode("ACQUIRE", rid=1, target="t" * 256, acquire_timeout_ms=0, lease_timeout_ms=0, label=""),
}


@pytest.mark.parametrize("kind", VIOLATIONS)
def test_violation(raw, kind):
    assert fatal(raw(VIOLATIONS[kind])).name == "protocol"


def open_frame(rid, stream, kind, command, window=1000, count=0, env=b""):
    return frame(20, struct.pack(">III", rid, stream, kind) + string(command) + struct.pack(">I", window) + b"\0"
                 + struct.pack(">I", count) + env)


STREAM_VIOLATIONS = {
    "kind 0": open_frame(9, 9, 0, "true"),
    "kind 4": open_frame(9, 9, 4, "true"),
    "shell with a command": open_frame(9, 9, 2, "true"),
    "window too large": open_frame(9, 9, 1, "true", window=(16 << 20) + 1),
    "command too long": open_frame(9, 9, 1, "x" * 262001),
    "more variables than are there": open_frame(9, 9, 1, "true", count=2, env=string("A") + string("b")),
    "too many variables": open_frame(9, 9, 1, "true", count=129, env=(string("A") + string("b")) * 129),
    "stream in use": open_frame(9, 5, 1, "true"),
    "DATA with fd 1": encode("DATA", stream=5, fd=1, data=b"x"),
    "DATA too long": encode("DATA", stream=5, fd=0, data=bytes(32769)),
    "DATA beyond the credit": encode("DATA", stream=5, fd=0, data=bytes(32768)) * 600,
    "DATA after EOF": encode("EOF", stream=5) + encode("DATA", stream=5, fd=0, data=b"x"),
    "credit over the top": encode("WINDOW", stream=5, bytes=16 << 20) * 2,
    "credit over the top by a number": encode("WINDOW", stream=5, bytes=0xffffffff),
}


@pytest.mark.parametrize("kind", STREAM_VIOLATIONS)
def test_violation_under_a_lease(daemon, sshd, kind):
    client = daemon.leased()
    client.open_stream(native.EXEC, "sleep 300", number=5).await_opened()
    client.send_raw(STREAM_VIOLATIONS[kind])
    assert fatal(client).name == "protocol"
    # It ends like any other client that goes away.
    sshd.await_nothing_remote()
    assert daemon.leased().run("echo alive").stdout == b"alive\n"


def test_random_bytes_after_hello(raw):
    rng = random.Random(7)
    for _ in range(30):
        client = raw(HELLO)
        client.answer("WELCOME")
        client.send_raw(struct.pack(">I", rng.randrange(4, 2000)) + rng.randbytes(4000))
        assert fatal(client).name == "protocol"


def test_frames_in_any_pieces(daemon):
    client = daemon.client(hello=False)
    client.socket.setblocking(True)
    for byte in HELLO + encode("STATUS", rid=5):
        client.socket.send(bytes([byte]))
    client.socket.setblocking(False)
    client.answer("WELCOME")
    assert client.answer("STATUS_REPLY", rid=5).json


def test_a_frame_cut_short_by_the_end(daemon):
    for cut in range(1, len(HELLO)):
        client = daemon.client(hello=False)
        client.send_raw(HELLO[:cut])
        client.socket.shutdown(socket.SHUT_WR)
        client.await_closed()
    assert daemon.leased().run("echo alive").stdout == b"alive\n"


@pytest.mark.parametrize("low,high", [(5, 9), (0, 0), (5, 2), (0xffffffff, 0xffffffff)])
def test_a_version_we_do_not_speak_names_both(raw, low, high):
    error = fatal(raw(encode("HELLO", magic=b"sshlease", version_min=low, version_max=high, program="new")))
    assert error.name in ("version", "protocol")
    if low <= high:
        assert error.name == "version" and str(low) in error.text and str(high) in error.text and "1" in error.text


@pytest.mark.parametrize("low, high, spoken", [(1, 7, 4), (2, 2, 2), (0, 1, 1)])
def test_a_range_of_versions_gets_the_newest_we_speak(daemon, low, high, spoken):
    client = daemon.client(hello=False)
    client.send("HELLO", magic=b"sshlease", version_min=low, version_max=high, program="new")
    welcome = client.answer("WELCOME")
    assert welcome.version == spoken and "sshlease" in welcome.daemon


def test_what_version_2_brought_is_a_violation_in_version_1(raw):
    assert fatal(raw(HELLO + encode("MUX", rid=1, target="t"))).name == "protocol"


@pytest.mark.parametrize("version", [1, 3])
def test_an_exit_is_told_when_it_comes(daemon, version):
    """Before the output ends, which a child has open. A client of an old version hears of it at the end."""
    client = daemon.client(version=version)
    client.acquire("t")
    stream = client.exec("""sh -c 'trap "kill \\$!; echo late; exit" USR1; sleep 4000 & echo $$ waits; wait' & exit 3""")
    child = int(stream.await_output(" waits\n").split()[0])
    if version == 3:
        client.pump(lambda: stream.exited)
        assert (stream.exited.how, stream.exited.exit_status, stream.exited.signal) == (0, 3, "")
    assert not stream.eof and not stream.end
    os.kill(child, signal.SIGUSR1)
    end = stream.await_end()
    assert (end.how, end.exit_status) == (0, 3) and stream.stdout.endswith(b" waits\nlate\n")
    assert bool(stream.exited) == (version == 3)


def test_an_exit_is_not_held_up_by_credit(daemon):
    client = daemon.client(version=3)
    client.acquire("t")
    stream = client.exec("head -c 300000 /dev/zero; exit 7", window=100000)
    stream.frozen = True
    client.pump(lambda: stream.exited)
    assert stream.exited.exit_status == 7 and stream.received <= 100000
    stream.thaw()
    assert stream.await_end().exit_status == 7 and stream.received == 300000


def test_a_later_hello_may_be_longer(daemon):
    client = daemon.client(hello=False)
    client.send_raw(frame(1, string("sshlease") + struct.pack(">II", 1, 2) + string("new") + b"more of it"))
    assert client.answer("WELCOME").version == 2


def test_requests_behind_hello_need_not_wait(daemon):
    client = daemon.client(hello=False)
    client.send_raw(HELLO + encode("ACQUIRE", rid=1, target="t", acquire_timeout_ms=0, lease_timeout_ms=0, label=""))
    client.answer("WELCOME")
    client.await_granted(1)


def test_who_says_nothing_is_shown_out(daemon):
    """10 s of silence; others are served meanwhile."""
    begin = time.monotonic()
    silent, halfway = daemon.client(hello=False), daemon.client(hello=False)
    halfway.send_raw(HELLO[:-1])
    assert daemon.leased().run("echo served").stdout == b"served\n"
    for client in (silent, halfway):
        assert fatal(client, timeout=30).name == "timeout"
    assert 9 < time.monotonic() - begin < 25


def test_requests_out_of_order(daemon):
    client = daemon.client()
    for request in ({"name": "RENEW", "lease_timeout_ms": 0}, {"name": "RELEASE"}):
        rid = client.rid()
        client.send(request.pop("name"), rid=rid, **request)
        assert client.answer("ERROR", rid=rid).code == 30  # no-lease
    stream = client.exec("true")
    with pytest.raises(native.Error) as e:
        stream.await_opened()
    assert e.value.name == "no-lease" and e.value.unsent
    client.acquire("t")
    rid = client.start_acquire("t")
    assert native.CODES[client.answer("ERROR", rid=rid).code] == "busy"
    assert client.run("echo fine").stdout == b"fine\n"


def test_what_is_said_about_a_stream_that_has_ended_is_ignored(daemon):
    client = daemon.leased()
    number = client.run("true").number
    client.send("DATA", stream=number, fd=0, data=b"late")
    client.send("WINDOW", stream=number, bytes=5)
    client.send("SIGNAL", stream=number, name="TERM")
    client.send("WINDOW_CHANGE", stream=number, cols=1, rows=1, width_px=0, height_px=0)
    client.send("EOF", stream=number)
    client.send("CLOSE", stream=number)
    assert client.run("echo fine").stdout == b"fine\n"


def test_unknown_target(daemon):
    with pytest.raises(native.Error) as e:
        daemon.client().acquire("nowhere")
    assert e.value.name == "no-target" and "nowhere" in e.value.text and e.value.unsent


@pytest.mark.parametrize("name", ["", "user@host", "../t", "t\n", "\x1b[31m"])
def test_strange_target_names(daemon, name):
    with pytest.raises(native.Error) as e:
        daemon.client().acquire(name)
    assert e.value.name in ("no-target", "invalid", "not-allowed") and e.value.text.isprintable(), repr(e.value.text)


def test_a_wait_can_be_cancelled(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1)}})
    holder, waiter = daemon.leased(), daemon.client()
    acquiring, releasing = waiter.start_acquire("t"), waiter.rid()
    waiter.send("RELEASE", rid=releasing)
    assert native.CODES[waiter.answer("ERROR", rid=acquiring).code] == "cancelled"
    waiter.answer("OK", rid=releasing)
    holder.release()
    waiter.acquire("t")
    assert waiter.run("echo mine").stdout == b"mine\n"


def test_who_waits_is_told_and_times_out(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1, acquire_notice="100ms")}})
    daemon.leased()
    waiters = [daemon.client() for _ in range(2)]
    rids = []
    for waiter in waiters:
        rids.append(waiter.start_acquire("t", acquire_timeout_ms=1000))
        waiter.status()  # answered in order: the daemon has the request now
    for place, (waiter, rid) in enumerate(zip(waiters, rids), 1):
        error = waiter.answer("ERROR", rid=rid)
        assert native.CODES[error.code] == "timeout" and error.unsent and "t" in error.text
        assert [w.position for w in waiter.waiting] and waiter.waiting[0].position == place
        assert waiter.waiting[0].reason.isprintable() and waiter.waiting[0].waited_ms >= 100


def test_more_waiters_than_allowed(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1, waiters=2)}})
    daemon.leased()
    waiters = []
    for _ in range(2):
        waiters.append(daemon.client())
        waiters[-1].start_acquire("t")
        waiters[-1].status()
    with pytest.raises(native.Error) as e:
        daemon.client().acquire("t")
    assert e.value.name == "queue-full" and e.value.unsent


def test_more_clients_than_allowed(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}, "limits": {"clients": 5}}, args=["--user"])
    inside = [Client(daemon.path) for _ in range(5)]
    outside = daemon.client(hello=False)
    assert fatal(outside).name == "limit"
    inside.pop().close()

    def let_in():
        client = Client(daemon.path, hello=False)
        client.send_raw(HELLO)
        try:
            return client.answer("WELCOME")
        except (native.Error, native.Closed):
            return None
        finally:
            client.close()
    until(let_in, "a place for another client")
    for client in inside:
        client.close()


def test_a_client_that_asks_and_does_not_read(daemon):
    """Answers pile up in the socket; then the daemon reads no more from it, and serves the others."""
    deaf = daemon.client()
    request = encode("STATUS", rid=9) * 1000
    deaf.socket.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        try:
            sent += deaf.socket.send(request)
        except BlockingIOError:
            if daemon.leased().run("echo served").stdout != b"served\n":
                raise
            break
    assert sent > 0
    assert daemon.leased().run("echo served").stdout == b"served\n"


def test_status_is_json_of_the_documented_shape(daemon):
    client = daemon.leased(label="a label\twith a tab")
    client.exec("sleep 300").await_opened()
    status = json.loads(client.status())
    assert status["state"] == "running" and status["pid"] == daemon.pid and status["uptime_ms"] >= 0
    assert isinstance(status["version"], str) and isinstance(status["counters"], dict)
    (target,) = status["targets"]
    assert target["name"] == "t" and target["waiters"] == 0 and target["max_connections"] == 4
    assert target["connections"] == {"dialing": 0, "idle": 0, "leased": 1, "draining": 0, "closing": 0}
    assert target["failures"] == 0 and target["last_error"] == "" and target["retry_in_ms"] == 0
    (lease,) = status["leases"]
    assert lease["id"] == client.lease and lease["target"] == "t" and lease["state"] == "granted"
    assert lease["pid"] == os.getpid() and lease["uid"] == os.getuid() and lease["user"] and "python" in lease["command"]
    assert 0 <= lease["age_ms"] < 60_000 and 800_000 < lease["expires_ms"] <= 900_000
    assert lease["streams"] == 1 and lease["label"] == "a label\twith a tab"
    client.close()


def test_the_test_vectors_are_ours_too():
    """native.py, made from the document, agrees with the vectors that are given beside it."""
    vectors = []
    for version in (1, 2, 3, 4):
        path = os.path.join(os.path.dirname(__file__), "..", "vectors", f"native-v{version}.json")
        with open(path, encoding="utf-8") as f:
            vectors += json.load(f)
    checked = 0
    for vector in vectors:
        if "fields" not in vector or "pty" in vector["fields"] or vector.get("decode_only"):
            continue
        assert native.MESSAGES[vector["type"]].number == vector["number"]
        values = {}
        for field, kind in native.MESSAGES[vector["type"]].fields:
            value = vector["fields"].get(field, vector["fields"].get(f"{field}_hex"))
            if field == "magic" and value is None:
                value = "sshlease"
            if f"{field}_hex" in vector["fields"]:
                value = bytes.fromhex(value)
            values[field] = int(value) if kind == "u64" else value
        assert encode(vector["type"], **values).hex() == vector["frame_hex"], vector["name"]
        message = native.Message(vector["type"], bytes.fromhex(vector["frame_hex"])[8:])
        for field, value in values.items():
            want = value.decode() if isinstance(value, bytes) and field != "data" else value
            assert getattr(message, field) == want, vector["name"]
        checked += 1
    assert checked > 20
