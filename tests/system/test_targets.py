# SPDX-License-Identifier: MIT
"""Targets that are not as they should be: one typed, readable error in bounded time, and nobody else is delayed."""

import contextlib
import os
import signal
import socket
import struct
import time

import pytest

import native
import procs
from native import Client
from sshd import free_port
from waiting import until


def refused(daemon, target="t", within=10.0, **options):
    """The error that acquiring it ends in; meanwhile target `good`, where there is one, has to be served as ever."""
    begin = time.monotonic()
    client = daemon.client()
    rid = client.start_acquire(target, **options)
    if any(t["name"] == "good" for t in daemon.status()["targets"]):
        other = daemon.leased("good")
        assert other.run("echo good").stdout == b"good\n"
        other.release()
        other.close()
    with pytest.raises(native.Error) as e:
        client.await_granted(rid, timeout=within)
    error = e.value
    assert time.monotonic() - begin < within
    assert error.unsent and error.text.isprintable() and target in error.text, (error.unsent, error.text)
    # The socket is good for another request.
    assert client.status()
    return error


@pytest.fixture
def beside_good(make_daemon, sshd, target):
    """Starts a daemon with a good target beside the one to be tested."""
    def make(bad, **more):
        return make_daemon({"targets": {"t": bad, "good": target(sshd)}, **more})
    return make


QUICK = {"acquire_timeout": "2500ms", "connect_timeout": "500ms", "login_timeout": "800ms"}


def test_does_not_resolve(beside_good, sshd, target):
    error = refused(beside_good({**target(sshd), "host": "no-such-host.invalid", **QUICK}), within=20)
    assert error.name == "resolve" and "no-such-host.invalid" in error.text


def test_refuses(beside_good, sshd, target):
    port = free_port()
    error = refused(beside_good({**target(sshd), "port": port, **QUICK}))
    assert error.name == "connect" and "refused" in error.text.lower() and str(port) in error.text


def test_black_hole(beside_good, sshd, target):
    """A listening socket whose queue is full drops every SYN."""
    with socket.socket() as hole, contextlib.ExitStack() as stack:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        error = refused(beside_good({**target(sshd), "port": hole.getsockname()[1], **QUICK}))
        assert error.name == "connect-timeout"


def test_stalls_before_its_banner(beside_good, sshd, make_proxy, target):
    proxy = make_proxy(sshd)
    proxy.black_hole = True
    error = refused(beside_good({**target(sshd, via=proxy), **QUICK}))
    assert error.name == "login-timeout"


@pytest.mark.parametrize("after", [1, 500, 2000])
def test_stalls_in_mid_handshake(beside_good, sshd, make_proxy, target, after):
    proxy = make_proxy(sshd)
    daemon = beside_good({**target(sshd, via=proxy), **QUICK})
    client = daemon.client()
    rid = client.start_acquire("t")
    until(lambda: proxy.bytes["down"] >= after, f"{after} bytes", interval=0)
    proxy.freeze()
    try:
        client.await_granted(rid, timeout=10)
    except native.Error as e:
        assert e.name == "login-timeout" and "t" in e.text
    else:
        assert after == 2000, "it was logged in before the freeze"


GARBAGE = {
    "a line": b"hello, who is there?\r\n",
    "binary": bytes(range(256)) * 64,
    "endless": b"x" * (1 << 20),
    "http": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "an old version": b"SSH-1.5-old\r\n",
    "a banner and then garbage": b"SSH-2.0-evil\r\n" + bytes(range(255, -1, -1)) * 200,
    "a packet that is too long": b"SSH-2.0-evil\r\n\xff\xff\xff\xff\x04\x14" + bytes(100),
    "control characters": b"SSH-2.0-\x1b[31mred\x07\r\n" + b"\0" * 64,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_sends_garbage(beside_good, sshd, make_proxy, target, kind):
    proxy = make_proxy(sshd)
    proxy.greeting = GARBAGE[kind]
    error = refused(beside_good({**target(sshd, via=proxy), **QUICK}))
    assert error.name in ("handshake", "login-timeout"), error


def test_hangs_up_at_once(beside_good, sshd, target):
    with socket.create_server(("127.0.0.1", 0)) as server:
        daemon = beside_good({**target(sshd), "port": server.getsockname()[1], **QUICK})
        client = daemon.client()
        rid = client.start_acquire("t")
        server.settimeout(0.05)
        hung_up = 0

        def answered():
            nonlocal hung_up
            with contextlib.suppress(TimeoutError):
                server.accept()[0].close()
                hung_up += 1
            client.socket.setblocking(False)
            client._receive()
            return client.answers
        until(answered, "an answer", timeout=15, interval=0)
        with pytest.raises(native.Error) as e:
            client.await_granted(rid)
        assert e.value.name == "handshake" and hung_up >= 1


def test_a_wrong_byte_on_the_way(beside_good, sshd, make_proxy, target):
    proxy = make_proxy(sshd)
    daemon = beside_good({**target(sshd, via=proxy), **QUICK})
    client = daemon.leased()
    stream = client.exec("echo $$; exec cat").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    proxy.corrupt["down"] = 1
    stream.write(b"hello\n")
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "connection-lost"
    assert stream.end.how == native.UNKNOWN
    watch.kill()


def encrypted_from(said):
    """Where in what a server says its encryption begins: behind NEWKEYS (RFC 4253 sections 4.2, 6 and 7.3)."""
    at = said.index(b"\r\n") + 2
    while True:
        (length,) = struct.unpack_from(">I", said, at)
        kind = said[at + 5]
        at += 4 + length
        if kind == 21:
            return at


@pytest.mark.parametrize("part", range(4))
def test_a_wrong_byte_anywhere_in_a_login(make_daemon, sshd, make_proxy, target, part):
    """libssh2 takes what breaks while it waits for a login's answer for a rejection. Going on from there it would believe
    a length that it decrypted wrongly."""
    proxy = make_proxy(sshd)
    daemon = make_daemon({"targets": {"t": target(sshd, via=proxy, handshakes=1, retry_min="10ms", retry_max="10ms",
                                                  login_timeout="150ms", auth_retry="10ms", idle_timeout="10ms")}})
    with Client(daemon.path) as client:
        client.acquire("t")
    begin, end = encrypted_from(proxy.said["down"]), len(proxy.said["down"])
    offsets = range(begin + part, end, 11)
    proxy.flips["down"] = iter(offsets)
    began = proxy.accepted
    while proxy.accepted < began + len(offsets):
        with Client(daemon.path) as client, contextlib.suppress(native.Error):
            client.acquire("t", acquire_timeout_ms=2000)
            client.release()
    assert daemon.status()["state"] == "running"


def test_comes_back(make_daemon, sshd, make_sshd, target):
    """A server that was away is found again by those who wait and by those who come later, without a restart."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, retry_min="50ms", retry_max="200ms")}})
    daemon.leased().run("true")
    server.kill()
    daemon.await_connections(leased=0, idle=0, closing=0)
    assert refused(daemon, within=10).name in ("connect", "handshake", "connection-lost")
    server.start()

    def again():
        client = daemon.client()
        with contextlib.suppress(native.Error):
            client.acquire("t")
            return client.run("echo back").stdout == b"back\n"
    until(again, "the target back", timeout=10)
    assert daemon.target()["failures"] == 0 and daemon.target()["last_error"] == ""


def test_killed_under_a_lease(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server)}})
    client, idle = daemon.leased(), daemon.leased()
    stream = client.exec("echo begun; exec sleep 300").await_opened()
    stream.await_output("begun")
    server.kill()
    for one in (client, idle):
        one.pump(lambda one=one: one.ended, timeout=10)
        # Under the idle one nothing had been started: it went on to another connection, for which nobody listens.
        assert native.CODES[one.ended.code] == ("connection-lost" if one is client else "connect")
        assert len(one.ended.text) > 10
    assert stream.end.how == native.UNKNOWN
    daemon.log.find("reason=connection-lost")
    daemon.await_connections(leased=0, draining=0, closing=0)


def test_killed_with_idle_connections(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, min_idle=2)}})
    daemon.await_connections(idle=2)
    server.kill()
    daemon.await_connections(idle=0, closing=0)
    server.start()
    daemon.await_connections(idle=2)


def test_stopped_server_under_a_lease(make_daemon, make_sshd, target):
    """SIGSTOP: TCP stays up, nobody answers."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, server_alive_interval="300ms", server_alive_count_max=2)}})
    client = daemon.leased()
    stream = client.exec("echo begun; exec sleep 300").await_opened()
    stream.await_output("begun")
    server.signal_sessions(signal.SIGSTOP)
    try:
        client.pump(lambda: client.ended, timeout=10)
        assert native.CODES[client.ended.code] in ("connection-lost", "peer-dead")
        assert stream.end.how == native.UNKNOWN
        daemon.await_connections(leased=0, draining=0, closing=0)
        # The listener lives: the next client gets a new connection.
        assert daemon.leased().run("echo next").stdout == b"next\n"
    finally:
        server.signal_sessions(signal.SIGCONT)


def test_stopped_server_with_an_idle_connection(make_daemon, make_sshd, target):
    """It is asked for a sign of life before it is granted."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, min_idle=1, validate_after="50ms", validate_timeout="500ms")}})
    daemon.await_connections(idle=1)
    server.signal_sessions(signal.SIGSTOP)
    time.sleep(0.1)  # past validate_after: time itself is what is awaited
    try:
        client = daemon.leased()
        assert client.run("echo fresh").stdout == b"fresh\n"
    finally:
        server.signal_sessions(signal.SIGCONT)


def test_frozen_network(make_daemon, sshd, make_proxy, target):
    proxy = make_proxy(sshd)
    daemon = make_daemon({"targets": {"t": target(sshd, via=proxy, server_alive_interval="200ms",
                                                  server_alive_count_max=2, kill_grace="200ms")}})
    client = daemon.leased()
    stream = client.exec("echo $$; exec sleep 300").await_opened()
    pid = int(stream.await_output("\n"))
    proxy.freeze()
    client.pump(lambda: client.ended, timeout=10)
    daemon.await_connections(timeout=30, leased=0, draining=0, closing=0)
    proxy.thaw()
    proxy.cut()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_client_that_dies_while_the_network_is_frozen(make_daemon, sshd, make_proxy, target):
    """What cannot be ended over a dead connection is given up in bounded time, and said."""
    proxy = make_proxy(sshd)
    daemon = make_daemon({"targets": {"t": target(sshd, via=proxy, max_connections=1, kill_grace="200ms")}})
    client = daemon.leased()
    stream = client.exec("echo $$; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    proxy.freeze()
    client.close()
    daemon.await_connections(timeout=30, leased=0, draining=0, closing=0)
    watch.kill()
    proxy.thaw()
    proxy.cut()


@pytest.mark.parametrize("loss", [0.05])
def test_a_slow_and_lossy_network(make_daemon, sshd, make_proxy, target, loss):
    proxy = make_proxy(sshd, delay=0.01)
    proxy.loss = loss
    client = make_daemon({"targets": {"t": target(sshd, via=proxy)}}).leased()
    for i in range(5):
        assert client.run(f"echo {i}").stdout == b"%d\n" % i
    data = os.urandom(1 << 20)
    assert client.run("cat", data).stdout == data


def test_a_warm_command_costs_one_round_trip(make_daemon, sshd, make_proxy, target):
    """Not a timed test: it is the number of packets that is looked at, one towards the server per command and its
    acknowledgements, where two round trips would need more time than the proxy's delay allows by far."""
    proxy = make_proxy(sshd, delay=0.15)
    client = make_daemon({"targets": {"t": target(sshd, via=proxy, min_idle=1)}}).leased()
    client.run("true")
    best = min(_took(client) for _ in range(3))
    assert 0.3 <= best < 0.55, f"{best / 0.3:.2f} round trips"


def _took(client):
    # Let the pre-opened channel arrive; there is no event for it.
    time.sleep(0.4)
    begin = time.monotonic()
    client.run("true")
    return time.monotonic() - begin
