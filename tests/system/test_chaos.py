"""Everything at once and at random: clients that work, leave, are killed; a server that dies; a network that breaks; an
operator that reloads and takes leases back. Nothing may be left behind, and nobody may be lied to. The seed is in the
test's name; --full makes it long."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import native
import procs
from sshd import send
from test_reclaim import HOLDER
from waiting import NotInTime, until

EXPECTED = {"connection-lost", "revoked", "expired", "timeout", "connect", "connect-timeout", "login-timeout",
            "handshake", "peer-dead", "target-down", "stream-limit", "queue-full", "no-lease", "stream-refused"}


class Worker(threading.Thread):
    """Leases and runs commands until told to stop. A command that is said to have ended well has to have run."""

    def __init__(self, path, seed, stop):
        super().__init__(daemon=True)
        self.path, self.random, self.stop = path, random.Random(seed), stop
        self.done, self.problems = 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                with native.Client(self.path) as client:
                    self.work(client)
            except native.Error as e:
                if e.name not in EXPECTED:
                    self.problems.append(repr(e))
            except Exception as e:  # whatever it is, the test reports it
                self.problems.append(repr(e))

    def work(self, client):
        client.acquire("t", acquire_timeout_ms=5000, lease_timeout_ms=self.random.choice((0, 0, 300, 2000)))
        for _ in range(self.random.randrange(1, 4)):
            data = self.random.randbytes(self.random.choice((0, 10, 200_000)))
            code = self.random.randrange(3)
            stream = client.run(f"cat; exit {code}", data, timeout=40)
            if stream.end.how == native.STATUS:
                assert stream.end.exit_status == code and stream.stdout == data, "a lie about a command"
                self.done += 1
            else:
                assert stream.end.how == native.UNKNOWN and stream.end.text
        leave = self.random.randrange(4)
        if leave == 0:
            client.exec("setsid nohup sleep 300 >/dev/null 2>&1 & exec sleep 300").await_opened()
        elif leave > 1 and client.lease:
            client.release()


def chaos(rng, daemon, server, proxy, holders):
    """One bad thing."""
    what = rng.randrange(8)
    if what == 0:
        proxy.cut()
    elif what == 1:
        proxy.freeze()
        time.sleep(rng.random() * 0.5)
        proxy.thaw()
    elif what == 2:
        sessions = server.sessions()
        if sessions:
            send([rng.choice(sessions)], rng.choice((signal.SIGKILL, signal.SIGTERM)))
    elif what == 3:
        daemon.signal(signal.SIGHUP)
    elif what == 4:
        leases = daemon.status()["leases"]
        with contextlib.suppress(native.Error), native.Client(daemon.path) as client:
            if leases:
                client.end(rng.choice(leases)["id"])
    elif what == 5:
        holders.append(subprocess.Popen([sys.executable, HOLDER, daemon.path, "t", "echo $$; exec cat /dev/zero"],
                                        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    elif what == 6 and holders:
        one = holders.pop(rng.randrange(len(holders)))
        one.kill()
        one.communicate()
    elif what == 7:
        proxy.corrupt["down"] = 1


@pytest.mark.root  # the daemon hides its descriptors from its own user
@pytest.mark.parametrize("seed", [1])
def test_nothing_is_left_behind(make_daemon, make_sshd, make_proxy, target, full, seed):
    rng = random.Random(seed)
    server = make_sshd()
    proxy = make_proxy(server)
    settings = target(server, via=proxy, max_connections=4, kill_grace="200ms", login_timeout="2s",
                      connect_timeout="1s", server_alive_interval="300ms", server_alive_count_max=2, retry_min="50ms", retry_max="300ms",
                      acquire_timeout="5s", lease_timeout="4s", validate_after="500ms", validate_timeout="500ms")
    daemon = make_daemon({"targets": {"t": settings}})
    daemon.leased().run("true")
    daemon.clients.pop().close()
    daemon.await_connections(leased=0, draining=0, closing=0)
    fds = procs.fd_count(daemon.pid) - server.connections()
    stop, holders = threading.Event(), []
    workers = [Worker(daemon.path, f"{seed}.{n}", stop) for n in range(6)]
    for worker in workers:
        worker.start()
    end = time.monotonic() + (600 if full else 8)
    try:
        while time.monotonic() < end:
            chaos(rng, daemon, server, proxy, holders)
            time.sleep(rng.random() * 0.1)  # how often things go wrong
    finally:
        stop.set()
        proxy.thaw()
        for worker in workers:
            worker.join(60)
        for one in holders:
            one.kill()
            one.communicate()
    assert not [w for w in workers if w.is_alive()], "a client hangs"
    problems = [p for w in workers for p in w.problems]
    assert not problems, problems[:5]
    assert sum(w.done for w in workers) > 20

    until(lambda: not daemon.status()["leases"], lambda: f"no leases, but {daemon.status()['leases']}", timeout=30)
    daemon.await_connections(timeout=30, dialing=0, leased=0, draining=0, closing=0)
    client = daemon.leased()
    assert client.run("echo fine").stdout == b"fine\n"
    client.release()
    client.close()
    daemon.clients.clear()
    daemon.write_config({"targets": {}})
    with native.Client(daemon.path) as operator:
        operator.reload()
    until(lambda: server.connections() == 0, "no connection at the server")
    with contextlib.suppress(NotInTime):
        until(lambda: procs.fd_count(daemon.pid) <= fds, "descriptors")
    left = [os.readlink(f"/proc/{daemon.pid}/fd/{n}") for n in os.listdir(f"/proc/{daemon.pid}/fd")]
    assert len(left) <= fds, left
