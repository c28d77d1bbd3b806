# SPDX-License-Identifier: MIT
"""One user's clients take no more than its share, whatever they do: others are served, root's administration works in a
full house, who is refused is told why, and what is given back counts no more."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile

import pytest

import native
import procs
from daemon import as_user
from fusefs import Lines
from sshd import free_port
from waiting import until

HERE = os.path.dirname(os.path.abspath(__file__))
IS_ROOT = os.geteuid() == 0
NOBODY, OTHER = pwd.getpwnam("nobody"), pwd.getpwnam("games")
SHARE = "its share of"


@pytest.fixture
def crowd():
    """crowd(WHAT, SOCKET, COUNT) starts crowd.py as nobody; told() is what it said."""
    processes = []

    def start(*words):
        command = as_user([sys.executable, os.path.join(HERE, "crowd.py"), *map(str, words)], NOBODY)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        process.lines = Lines(process.stdout)
        process.told = lambda: json.loads(process.lines.next())
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait(20)
        process.stdin.close()
        process.stdout.close()


def go(process):
    process.kill()
    process.wait(20)


@pytest.fixture
def directory():
    """Not in pytest's, which every pytest of this user's closes to others."""
    made = tempfile.mkdtemp(prefix="sshlease-quota.")
    os.chmod(made, 0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def serve(directory, make_daemon, sshd, target):  # the directory first: it goes when the daemon has ended
    """serve(limits, …) is a daemon of root's whose target `t` nobody and another user may lease."""
    allow = {"users": [NOBODY.pw_name, OTHER.pw_name]}

    def start(limits=None, **settings):
        settings = {"max_connections": 2, **settings}
        daemon = make_daemon({"mux": {"directory": str(directory)}, "limits": limits or {},
                              "targets": {"t": target(sshd, allow=allow, **settings)}})
        daemon.mux = os.path.join(directory, "t")
        return daemon
    return start


def of(daemon, user):
    """What the user has, by status."""
    return next((u for u in daemon.status()["users"] if u["uid"] == user.pw_uid), None)


def assert_gone(daemon):
    until(lambda: of(daemon, NOBODY) is None, lambda: f"nobody has nothing any more, but {of(daemon, NOBODY)}")


def ssh(daemon, user):
    """At the mux socket, and nowhere else."""
    words = ["ssh", "-F", "none", "-o", f"ControlPath={daemon.mux}", "-o", "ProxyCommand=false", "t", "echo in"]
    return subprocess.run(as_user(words, user), capture_output=True, timeout=30, check=False, stdin=subprocess.DEVNULL)


def assert_works(daemon):
    """For another user, and for root, who administers."""
    done = daemon.cli("exec", "t", "--", "echo in", user=OTHER)
    assert (done.returncode, done.stdout) == (0, b"in\n"), done
    done = ssh(daemon, OTHER)
    assert (done.returncode, done.stdout) == (0, b"in\n"), done
    holder = daemon.cli_start("exec", "t", "--", "echo there; exec sleep 1000", user=OTHER)
    try:
        assert holder.stdout.readline() == b"there\n"
        lease = next(one for one in daemon.status()["leases"] if one["uid"] == OTHER.pw_uid)
        assert daemon.cli("status").returncode == 0
        assert daemon.cli("end", lease["id"]).returncode == 0
        assert holder.wait(20) != 0
        done = daemon.cli("reload")
        assert done.returncode == 0, done
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.root
@pytest.mark.parametrize("kind", ["idle", "mux-idle"])
def test_a_thousand_idle_clients_lock_out_nobody(serve, crowd, kind):
    daemon = serve()
    many = crowd(kind, daemon.path if kind == "idle" else daemon.mux, 1100)
    told = many.told()
    assert told["inside"] == 1000 and told["text"].endswith("end some, or have the limit raised"), told
    assert "1000 clients of uid 65534 are connected already, its share of 2000" in told["text"]
    assert_works(daemon)
    assert of(daemon, NOBODY)["clients"] == 1000
    go(many)
    assert_gone(daemon)


@pytest.mark.root
def test_a_full_house_is_open_to_root(serve, crowd):
    daemon = serve({"clients": 4, "user_share": 100})
    assert crowd("idle", daemon.path, 5).told() == {
        "inside": 4, "code": "limit", "text": "4 clients are connected already (limits.clients): end some, or have the limit "
                                              "raised"}
    refused = daemon.cli("exec", "t", "--", "echo in", user=OTHER)
    assert refused.returncode != 0 and b"limits.clients" in refused.stderr, refused
    assert daemon.cli("status").returncode == 0
    assert daemon.cli("reload").returncode == 0
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"


@pytest.mark.root
@pytest.mark.parametrize("what, limits, settings, inside, code, text", [
    ("idle", {"clients": 8}, {}, 4, "limit", "4 clients of uid 65534 are connected already, its share of 8 (limits.clients,"),
    ("leases", {"leases": 8}, {"max_connections": 8}, 4, "limit",
     "target t: 4 leases of uid 65534 are held or asked for already, its share of 8 (limits.leases,"),
    ("leases", {}, {"waiters": 6, "max_connections": 1}, 4, "queue-full",
     "target t: 3 leases of uid 65534 are waited for already, its share of 6 (waiters,"),
    ("streams", {"streams": 6}, {}, 3, "limit", "3 streams of uid 65534 are open already, its share of 6 (limits.streams,"),
    ("descriptors", {"descriptors": 12}, {}, 6, "limit",
     "6 descriptors of uid 65534 are open already, its share of 12 (limits.descriptors,"),
    ("held", {"held_mib": 2}, {}, 4, "limit", "bytes of uid 65534 are held already, its share of 2097152 (limits.held_mib,"),
])
def test_who_wants_more_is_told_what_limits_it(serve, crowd, what, limits, settings, inside, code, text):
    daemon = serve(limits, **settings)
    if "waiters" in settings:  # the first is to wait for nothing that is on its way
        assert daemon.cli("exec", "t", "--", "true", user=NOBODY).returncode == 0
    many = crowd(what, daemon.path, 20)
    told = many.told()
    assert (told["inside"], told["code"]) == (inside, code) and text in told["text"], told
    assert "limits.user_share): " in told["text"] and told["text"].endswith("or have the limit raised"), told
    # Others are served, and in the end nothing of it is left.
    if "waiters" in settings:
        assert daemon.cli("status", user=OTHER).returncode == 0
    else:
        done = daemon.cli("exec", "t", "--", "echo in", user=OTHER, timeout=20)
        assert done.stdout == b"in\n", done
    go(many)
    assert_gone(daemon)


@pytest.mark.root
@pytest.mark.parametrize("limits, what, text", [
    ({"clients": 4}, "idle", b"2 clients of uid 65534 are connected already, its share of 4"),
    ({"leases": 4}, "leases", b"2 leases of uid 65534 are held or asked for already, its share of 4"),
    ({"streams": 4}, "streams", b"2 streams of uid 65534 are open already, its share of 4"),
    ({"descriptors": 4}, "descriptors", b"2 descriptors of uid 65534 are open already, its share of 4"),
])
def test_ssh_says_what_limits_it(serve, crowd, limits, what, text):
    daemon = serve(limits)
    crowd(what, daemon.path, 20).told()
    refused = ssh(daemon, NOBODY)
    assert refused.returncode == 255 and text in refused.stderr, refused


@pytest.mark.root
def test_forwards_are_descriptors_as_well(serve):
    """Two sockets each, for IPv4 and IPv6."""
    daemon = serve({"descriptors": 14})

    def forward(*ports):
        words = [word for port in ports for word in ("-L", f"{port}:127.0.0.1:1")]
        words = ["ssh", "-F", "none", "-S", daemon.mux, "-O", "forward", *words, "t"]
        return subprocess.run(as_user(words, NOBODY), capture_output=True, timeout=30, check=False)

    first = forward(*(free_port() for _ in range(3)))
    assert first.returncode == 0, first
    assert of(daemon, NOBODY)["descriptors"] == 6
    more = forward(free_port())
    assert more.returncode != 0 and b"6 descriptors of uid 65534 are open already, its share of 14" in more.stderr, more
    done = subprocess.run(as_user(["ssh", "-F", "none", "-S", daemon.mux, "-O", "exit", "t"], NOBODY), capture_output=True,
                          timeout=30, check=False)
    assert done.returncode == 0, done
    assert_gone(daemon)


@pytest.mark.root
def test_who_is_idle_longest_gives_way(serve):
    """To another client of its user's, once it has been so for a while; not to others, and not with a lease."""
    daemon = serve({"clients": 6, "user_share": 50})
    script = f"""if True:
        import json, sys
        sys.path.insert(0, {HERE!r})
        import native
        from waiting import until
        holder, first, second = (native.Client({daemon.path!r}) for _ in range(3))
        holder.acquire("t")
        for one in (second, first):  # they have said something later than it, which has a lease
            rid = one.rid()
            one.send("RENEW", rid=rid, lease_timeout_ms=0)
            one.answer("ERROR", rid=rid)
        def attempt():
            try:
                return native.Client({daemon.path!r})
            except native.Error as e:
                assert e.name == "limit" and "its share of 6" in e.text, e
        assert attempt() is None, "all three have just said something"
        third = until(attempt, "a place", 30, 0.1)
        try:
            second.await_granted(1)
            print("granted")
        except native.Error as e:
            print(json.dumps([e.name, e.text]))
        first.start_acquire("t"); first.await_granted()
        holder.renew(); third.status()
        print("served", flush=True)
    """
    done = subprocess.run(as_user([sys.executable, "-c", script], NOBODY), capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done
    said, served = done.stdout.splitlines()
    assert json.loads(said) == ["limit", "closed for want of use: another client of its user needs the place "
                                         "(limits.clients)"]
    assert served == "served"


@pytest.mark.root
def test_who_is_idle_at_a_mux_socket_gives_way(serve, crowd):
    daemon = serve({"clients": 6})
    assert crowd("mux-idle", daemon.mux, 3).told()["inside"] == 3
    refused = ssh(daemon, NOBODY)
    assert refused.returncode == 255 and b"3 clients of uid 65534" in refused.stderr, refused
    last = []

    def let_in():
        last[:] = [ssh(daemon, NOBODY), of(daemon, NOBODY)]
        return last[0].stdout == b"in\n"
    until(let_in, lambda: f"a place: {last}\n" + "\n".join(daemon.log.lines[-20:]), 30, 0.1)
    until(lambda: of(daemon, NOBODY)["clients"] == 2, "one of the three has given way, and ssh is gone")


@pytest.mark.root
def test_status_that_nobody_reads(serve, crowd):
    """Few answers are made for a user at a time; those that nobody takes are given up."""
    daemon = serve(max_connections=1)
    before = procs.rss_bytes(daemon.pid)
    many = crowd("unread", daemon.path, 600)
    assert many.told() == {"asked": 600}
    assert_served_while(daemon)
    until(lambda: of(daemon, NOBODY)["statuses"] == 0, "the unread answers were given up", 40)
    grown = procs.rss_bytes(daemon.pid) - before
    print(f"300 leases, 600 sockets with an unread STATUS: {grown >> 20} MiB")
    assert grown < 64 << 20, f"the daemon has grown by {grown >> 20} MiB"
    many.stdin.write(b"\n")
    many.stdin.flush()
    told = many.told()
    assert told["told"] >= 590 and told["told"] + told["ended"] == 600, told
    go(many)
    assert_gone(daemon)


def assert_served_while(daemon):
    for _ in range(3):
        with native.Client(daemon.path, timeout=10) as client:
            client.status()


def test_users_see_what_they_have(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    client = daemon.leased()
    client.exec("sleep 1000").await_opened()
    (user,) = daemon.status()["users"]
    assert user.pop("held_bytes") < 65536
    assert user == {"uid": os.geteuid(), "clients": 2, "leases": 1, "waiters": 0, "streams": 1, "descriptors": 0,
                    "statuses": 1}
    if IS_ROOT:
        shown = subprocess.run(as_user([sys.executable, "-c", f"import sys; sys.path.insert(0, {HERE!r}); import native; "
                                        f"print(native.Client({daemon.path!r}).status())"], NOBODY),
                               capture_output=True, text=True, timeout=30, check=True)
        assert [u["uid"] for u in json.loads(shown.stdout)["users"]] == [NOBODY.pw_uid]
