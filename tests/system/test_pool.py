# SPDX-License-Identifier: MIT
"""Who gets which connection, seen from outside: order, limits, cold pools, idle connections, reload."""

import os
import signal
import threading

import pytest

import native
import procs
from daemon import is_sanitized
from waiting import until


def test_fifty_clients_and_one_connection(make_daemon, sshd, target):
    """First come, first served, all over one connection that is handed on clean."""
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1)}})
    clients = [daemon.client() for _ in range(50)]
    rids = []
    for client in clients:
        rids.append(client.start_acquire("t"))
        client.status()  # answered in order: the daemon has the request now
    logins = len(sshd.log.matches("Accepted publickey"))
    for place, (client, rid) in enumerate(zip(clients, rids)):
        client.await_granted(rid)
        assert client.run(f"echo {place}").stdout == b"%d\n" % place
        leases = [x for x in daemon.status()["leases"] if x["state"] == "granted"]
        assert [x["id"] for x in leases] == [client.lease]
        client.release()
    assert len(sshd.log.matches("Accepted publickey")) <= logins + 1, "it logged in more than once"
    daemon.await_connections(idle=1, leased=0)


@pytest.mark.parametrize("handshakes", [4, 32], ids=["default", "more than sshd takes"])
def test_two_hundred_clients_on_a_cold_pool(make_daemon, make_sshd, target, handshakes):
    """MaxStartups 10:30:100. With more handshakes at once than that sshd drops some at random; no client may see it."""
    server = make_sshd("MaxStartups 10:30:100")
    daemon = make_daemon({"targets": {"t": target(server, max_connections=30, waiters=300, handshakes=handshakes,
                                                  retry_min="50ms", retry_max="1s", acquire_timeout="60s")}})
    clients = [daemon.client() for _ in range(200)]
    rids = [client.start_acquire("t") for client in clients]
    for place, (client, rid) in enumerate(zip(clients, rids)):
        client.await_granted(rid, timeout=90)
        assert client.run(f"echo {place}").stdout == b"%d\n" % place
        client.release()
    if handshakes == 4:
        assert not server.log.matches("drop connection|MaxStartups"), "sshd had to refuse some"
    assert daemon.connections()["idle"] <= 30


def test_no_more_connections_than_allowed(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, max_connections=3)}})
    clients = [daemon.client() for _ in range(9)]
    rids = [client.start_acquire("t") for client in clients]
    most = 0
    for client, rid in zip(clients, rids):
        client.await_granted(rid)
        most = max(most, server.connections())
        client.run("true")
        if client.lease % 2:
            client.close()  # reclaimed: counts until it is gone
        else:
            client.release()
    assert most <= 3


def test_limits_connections_over_all_targets(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {n: target(server) for n in ("a", "b", "c")}, "limits": {"connections": 2}})
    for name in "abcabc":
        client = daemon.leased(name)
        assert client.run("echo on").stdout == b"on\n"
        assert server.connections() <= 2
        client.release()
        client.close()


def test_idle_connections_go(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, idle_timeout="400ms")}})
    daemon.leased().release()
    daemon.await_connections(idle=0, closing=0)
    until(lambda: server.connections() == 0, "no connection at the server")
    daemon.log.find("reason=idle-timeout")


def test_min_idle_is_kept(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, min_idle=2, idle_timeout="300ms")}})
    daemon.await_connections(idle=2)
    client = daemon.leased()
    daemon.await_connections(idle=2, leased=1)
    client.release()
    daemon.await_connections(idle=2, leased=0)


def test_max_lifetime(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, max_lifetime="600ms", min_idle=1)}})
    client = daemon.leased()
    pid = server.sessions()
    daemon.log.find("reason=max-lifetime", timeout=20)
    assert client.run("echo not mine").stdout == b"not mine\n", "a leased connection was closed for its age"
    client.release()
    until(lambda: not set(pid) & set(server.sessions()), "the old connection gone")


# --- reload ---

def reload_by(daemon, how):
    if how == "SIGHUP":
        mark = daemon.log.mark()
        daemon.signal(signal.SIGHUP)
        daemon.log.find(r"(?i)(reload|config)", after=mark)
    else:
        daemon.client().reload()


@pytest.mark.parametrize("how", ["SIGHUP", "request"])
def test_reload_adds_and_removes_targets(make_daemon, sshd, target, how):
    daemon = make_daemon({"targets": {"old": target(sshd), "kept": target(sshd)}})
    holder = daemon.leased("old")
    waiting = daemon.client()
    idle = daemon.leased("kept")
    idle.release()
    before = sshd.sessions()
    daemon.write_config({"targets": {"new": target(sshd), "kept": daemon.config["targets"]["kept"]}})
    reload_by(daemon, how)
    until(lambda: any(t["name"] == "new" for t in daemon.status()["targets"]), "the new target")
    assert daemon.leased("new").run("echo new").stdout == b"new\n"
    with pytest.raises(native.Error) as e:
        waiting.acquire("old")
    assert e.value.name == "no-target"
    assert holder.run("echo mine").stdout == b"mine\n", "a lease was lost by a reload"
    holder.release()
    assert set(before) & set(sshd.sessions()), "an unchanged target's idle connection was closed"


def test_a_bad_file_changes_nothing(daemon):
    daemon.leased().release()
    good = daemon.config
    daemon.write_config_text("targets:\n  t:\n    hots: x\n    port: seventy\nlisten: [\n")
    with pytest.raises(native.Error) as e:
        daemon.client().reload()
    assert e.value.name == "config" and f"{daemon.config_file}:" in e.value.text
    mark = daemon.log.mark()
    daemon.signal(signal.SIGHUP)
    daemon.log.find(r"config\.yaml:\d+:\d+", after=mark)
    assert daemon.leased().run("echo same").stdout == b"same\n"
    daemon.write_config(good)
    daemon.client().reload()


def test_a_changed_target_replaces_idle_and_then_leased_connections(make_daemon, make_sshd, target, keys):
    old, new = make_sshd(), make_sshd()
    daemon = make_daemon({"targets": {"t": target(old)}})
    holder, other = daemon.leased(), daemon.leased()
    other.release()
    daemon.await_connections(idle=1, leased=1)
    daemon.write_config({"targets": {"t": target(new)}})
    daemon.client().reload()
    until(lambda: old.connections() == 1, "the idle connection closed")
    assert other.acquire("t") and other.run("echo $SSH_CONNECTION").stdout.endswith(b" %d\n" % new.port)
    assert holder.run("echo $SSH_CONNECTION").stdout.endswith(b" %d\n" % old.port)
    holder.release()
    until(lambda: old.connections() == 0, "the leased connection closed at its release")


def test_policy_alone_changes_without_new_connections(make_daemon, make_sshd, target):
    server = make_sshd()
    settings = target(server, max_connections=1)
    daemon = make_daemon({"targets": {"t": settings}})
    daemon.leased().release()
    until(lambda: server.log.matches("Accepted publickey"), lambda: "sshd has logged the login")
    daemon.write_config({"targets": {"t": {**settings, "max_connections": 2, "idle_timeout": "1m"}}})
    daemon.client().reload()
    assert daemon.target()["max_connections"] == 2
    one, two = daemon.leased(), daemon.leased()
    assert one.lease != two.lease
    until(lambda: len(server.log.matches("Accepted publickey")) >= 2, lambda: "sshd has logged the second login")
    assert len(server.log.matches("Accepted publickey")) == 2


def test_reload_under_load(make_daemon, make_sshd, target):
    """Clients lease and run commands all the while; the target's server changes again and again; nothing is lost."""
    servers = [make_sshd(), make_sshd()]
    configs = [{"targets": {"t": target(s, max_connections=3)}} for s in servers]
    daemon = make_daemon(configs[0])
    stop, failures, done = threading.Event(), [], []

    def work(number):
        try:
            count = 0
            with native.Client(daemon.path) as client:
                while not stop.is_set() or count == 0:
                    client.acquire("t")
                    text = f"{number}.{count}"
                    stream = client.run(f"echo {text}")
                    assert stream.stdout.decode() == f"{text}\n" and stream.end.exit_status == 0
                    client.release()
                    count += 1
            done.append(count)
        except Exception as e:  # whatever it is, the test reports it
            failures.append(f"{number}: {e!r}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(1, 11):
            daemon.write_config(configs[turn % 2])
            daemon.client().reload()
            client = daemon.leased()
            where = client.run("echo $SSH_CONNECTION").stdout.split()[-1]
            assert int(where) == servers[turn % 2].port
            client.close()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failures and len(done) == 6


# --- nothing is left behind ---

@pytest.mark.root  # the daemon hides its descriptors from its own user
def test_descriptors_and_memory_return_to_where_they_began(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, max_connections=2, kill_grace="100ms"),
                                      "bad": {**target(server, known=""), "acquire_timeout": "1s"}}})

    def round_of_everything():
        client = daemon.leased()
        client.run("head -c 300000 /dev/zero", os.urandom(100_000))
        client.release()
        client.acquire("t")
        client.exec("sleep 300").await_opened()
        client.close()  # reclaimed
        garbage = native.Client(daemon.path, hello=False)
        garbage.send_raw(b"\xff" * 100)
        garbage.await_closed()
        garbage.close()
        other = native.Client(daemon.path)
        with pytest.raises(native.Error):
            other.acquire("bad")
        other.reload()
        other.status()
        other.close()
        waiter = native.Client(daemon.path)
        waiter.start_acquire("t")
        waiter.close()
        daemon.await_connections(leased=0, dialing=0, draining=0, closing=0)

    def rest():
        daemon.write_config({"targets": {}})
        daemon.client().reload()
        until(lambda: server.connections() == 0, "no connections")
        daemon.write_config(config)
        daemon.client().reload()
        for client in daemon.clients:
            client.close()
        daemon.clients.clear()
        until(lambda: not daemon.status()["leases"], "no leases")

    config = daemon.config
    for _ in range(4):
        round_of_everything()
    rest()
    fds, memory = procs.fd_count(daemon.pid), procs.rss_bytes(daemon.pid)
    for _ in range(12):
        round_of_everything()
    rest()
    until(lambda: procs.fd_count(daemon.pid) <= fds, lambda: f"{fds} descriptors, but {os.listdir(f'/proc/{daemon.pid}/fd')}")
    grown = procs.rss_bytes(daemon.pid) - memory
    # AddressSanitizer spreads what is freed over its own pools; there LeakSanitizer looks for leaks at the daemon's end.
    assert grown < (12 if is_sanitized() else 2) << 20, f"{grown >> 10} KiB more after 12 rounds"
