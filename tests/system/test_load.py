# SPDX-License-Identifier: MIT
"""Much data, slow readers, key exchanges in the midst of it."""

import hashlib
import os
import threading
import time

import pytest

import native
import procs
from daemon import is_sanitized
from waiting import until

STREAMS = 6


def volume_mib(full):
    """In all, both ways together. The specification's 1 GiB with --full or by $SSHLEASE_REKEY_MIB."""
    if "SSHLEASE_REKEY_MIB" in os.environ:
        return int(os.environ["SSHLEASE_REKEY_MIB"])
    return 1024 if full else 48 if is_sanitized() else 96


def test_rekeying_under_six_streams_both_ways(make_daemon, make_sshd, target, full):
    """`RekeyLimit 1M`, `cat` on six streams: what comes back is what was sent."""
    server = make_sshd("RekeyLimit 1M", "LogLevel DEBUG1")
    client = make_daemon({"targets": {"t": target(server)}}).leased()
    block = os.urandom(1 << 20)
    each = volume_mib(full) * (1 << 20) // 2 // STREAMS
    streams = []
    for i in range(STREAMS):
        stream = client.exec("cat").await_opened()
        stream.sent, stream.got = hashlib.sha256(), hashlib.sha256()
        stream.on_data = lambda fd, data, s=stream: s.got.update(data)
        stream.at, stream.done = i * 4099, 0
        streams.append(stream)
    deadline = time.monotonic() + (1200 if full else 120)
    while any(s.done < each for s in streams):
        assert time.monotonic() < deadline, [(s.done, s.received) for s in streams]
        client.pump(lambda: any(s.may_send and s.done < each for s in streams), timeout=60)
        for stream in streams:
            while stream.may_send and stream.done < each:
                size = min(native.DATA_MAX, stream.may_send, each - stream.done)
                at = (stream.at + stream.done) % (len(block) - native.DATA_MAX)
                piece = block[at:at + size]
                stream.sent.update(piece)
                client.send("DATA", stream=stream.number, fd=0, data=piece)
                stream.may_send -= size
                stream.done += size
                if stream.done == each:
                    stream.write_eof()
    for stream in streams:
        assert stream.await_end(120).exit_status == 0
        assert stream.received == each and stream.sent.digest() == stream.got.digest()
    rekeys = len(server.log.matches("rekeying|SSH2_MSG_KEXINIT received|set_newkeys: rekeying"))
    assert rekeys > 10, f"only {rekeys} signs of a key exchange"


def test_a_client_that_stops_reading_delays_nobody_and_costs_no_memory(make_daemon, sshd, target):
    """It gives all the credit it may, for eight streams, and then reads no byte more from its socket."""
    daemon = make_daemon({"targets": {"t": target(sshd, kill_grace="200ms")}})
    other = daemon.leased()
    other.run("true")
    before = procs.rss_bytes(daemon.pid)
    deaf = daemon.client()
    deaf.acquire("t")
    for _ in range(8):
        deaf.exec("exec cat /dev/zero", window=16 << 20)
    deaf._flush()
    most, begin, runs = 0, time.monotonic(), 0
    # Long enough for a fast sender to fill what is not bounded; what is measured is memory, not time.
    while runs < 30 or time.monotonic() - begin < 1.0:
        assert other.run("echo on").stdout == b"on\n"
        most = max(most, procs.rss_bytes(daemon.pid) - before)
        runs += 1
    bound = (24 << 20) * (2 if is_sanitized() else 1)
    assert most < bound, f"{most >> 20} MiB for a client that does not read"
    # It has lost nothing by it, and may go on.
    streams = list(deaf.streams.values())
    for stream in streams:
        stream.on_data = lambda fd, data: None
    deaf.pump(lambda: all(s.received > 1 << 20 for s in streams))
    deaf.close()
    sshd_quiet(daemon, other)


def sshd_quiet(daemon, other):
    other.release()
    daemon.await_connections(leased=0, draining=0, closing=0)


def test_a_stream_without_credit_delays_no_other_of_the_same_lease(daemon):
    client = daemon.leased()
    stuck = client.exec("exec cat /dev/zero", window=1000)
    stuck.frozen = True
    client.pump(lambda: stuck.received == 1000)
    for i in range(10):
        assert client.run(f"echo {i}; head -c 500000 /dev/zero | wc -c >&2").stderr.strip() == b"500000"
    assert stuck.received == 1000, "more than the credit"
    stuck.on_data = lambda fd, data: None
    stuck.give(50_000)
    client.pump(lambda: stuck.received == 51_000)
    stuck.close()
    stuck.await_end()


def test_a_command_that_does_not_read_delays_no_other(daemon):
    client = daemon.leased()
    stuck = client.exec("exec sleep 300").await_opened()
    sent = 0
    # As much as the daemon lets us: its buffer and the server's.
    while stuck.may_send:
        size = min(stuck.may_send, native.DATA_MAX)
        client.send("DATA", stream=stuck.number, fd=0, data=bytes(size))
        stuck.may_send -= size
        sent += size
        if not stuck.may_send:
            client.run("true")
    assert 100_000 < sent < 32 << 20
    for i in range(5):
        assert client.run("cat", b"x" * 300_000).stdout == b"x" * 300_000
    stuck.close()
    stuck.await_end()


@pytest.mark.parametrize("clients", [8])
def test_many_clients_moving_data_at_once(make_daemon, sshd, target, clients):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=clients)}})
    failures = []

    def work(seed):
        try:
            with native.Client(daemon.path) as client:
                client.acquire("t")
                data = (b"%d " % seed) * 700_000
                for _ in range(2):
                    stream = client.run("cat; echo end >&2", data, timeout=120)
                    assert stream.stdout == data and stream.stderr == b"end\n" and stream.end.exit_status == 0
                client.release()
        except Exception as e:  # whatever it is, the test reports it
            failures.append(repr(e))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures


def test_at_rest_it_sleeps(make_daemon, sshd, target):
    """With idle connections and nothing to do, the loop does not spin."""
    daemon = make_daemon({"targets": {"t": target(sshd, min_idle=4)}})
    daemon.await_connections(idle=4)
    # The last answers of the connections just made may still be on their way.
    until(lambda: _rests(daemon), "a daemon that sleeps", timeout=10)


def _rests(daemon):
    before = procs.cpu_seconds(daemon.pid)
    time.sleep(0.5)  # a stretch of time is what is measured
    return procs.cpu_seconds(daemon.pid) - before <= 0.02
