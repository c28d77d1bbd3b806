# SPDX-License-Identifier: MIT
"""A target that cannot be reached: what those who wait are told, and how soon it is found again."""

import socket
import threading
import time

import pytest

import native
from waiting import until


def told(daemon, target="t", **options):
    with pytest.raises(native.Error) as e:
        with native.Client(daemon.path) as client:
            client.acquire(target, **options)
    return e.value


class Deaf:
    """A port that takes connections and hangs up, so that the handshake fails; `refuse()` closes it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.dialed = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.dialed += 1
            sock.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        self.listener.close()


def test_every_wait_is_told_what_is_wrong_also_by_a_dial_from_before_it(make_daemon, make_sshd, target):
    """The pause is longer than the wait."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, retry_min="20s")}})
    server.kill()
    assert told(daemon).name == "connect"
    for _ in range(3):
        error = told(daemon, acquire_timeout_ms=300)
        assert error.name == "connect", error.text
        assert "connection refused" in error.text.lower() and "next try in " in error.text
        assert f"127.0.0.1:{server.port}" in error.text and "became free" not in error.text


def test_a_wait_that_is_shorter_than_connecting_is_told_so(make_daemon, make_sshd, make_proxy, target):
    server = make_sshd()
    proxy = make_proxy(server)
    proxy.freeze()
    daemon = make_daemon({"targets": {"t": target(server, via=proxy)}})
    error = told(daemon, acquire_timeout_ms=300)
    assert error.name == "timeout"
    assert f"still connecting to 127.0.0.1 port {proxy.port}" in error.text


def test_a_host_that_was_away_for_long_is_found_within_seconds(make_daemon, make_sshd, sshd, target):
    """The pause would be a quarter of a minute by then: whoever waits is served soon after the host is back."""
    deaf = Deaf()
    settings = target(sshd, known=sshd.known_hosts_line(f"[127.0.0.1]:{deaf.port}"), retry_min="400ms",
                      acquire_timeout="60s")
    daemon = make_daemon({"targets": {"t": {**settings, "port": deaf.port}}})
    client = daemon.client()
    rid = client.start_acquire("t")
    until(lambda: daemon.target()["failures"] >= 6, "six failed dials", timeout=40)
    deaf.stop()
    make_sshd(port=deaf.port)
    begin = time.monotonic()
    client.await_granted(rid, timeout=20)
    assert time.monotonic() - begin < 6


def test_who_asks_again_and_again_finds_it_within_seconds(make_daemon, make_sshd, target):
    """As Ansible's wait_for_connection does, with pauses of its own."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server)}})
    server.kill()
    while daemon.target()["failures"] < 5:
        assert told(daemon, acquire_timeout_ms=1000).name == "connect"
    server.start()
    begin = time.monotonic()
    while True:
        try:
            daemon.leased(acquire_timeout_ms=1000)
            break
        except native.Error as e:
            assert e.name == "connect", e.text
            assert time.monotonic() - begin < 8
    assert time.monotonic() - begin < 6
