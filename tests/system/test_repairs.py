# SPDX-License-Identifier: MIT
"""What was refused is mended, or what connections are made of is changed: when that is seen, and by what."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

import native
from agents import add, answers
from logins import logs_in, refusal
from sshd import free_port
from waiting import until

SOON = 5  # seconds; nobody's pause is as short


def connections_made(server):
    return len(server.log.matches("Connection from"))


def soon(daemon):
    """The first who asks gets it."""
    begin = time.monotonic()
    logs_in(daemon)
    assert time.monotonic() - begin < SOON


def replace(path, source):
    """As people do: another file under the same name."""
    shutil.copy(source, f"{path}.new")
    os.chmod(f"{path}.new", 0o600)
    os.rename(f"{path}.new", path)


@pytest.fixture
def key(keys, tmp_path):
    """A private key that the server does not know, yet."""
    path = str(tmp_path / "id")
    replace(path, keys.stranger)
    return path


# --- blocked targets --------------------------------------------------------------------------------------------------

def test_a_host_key_that_is_written_down(make_daemon, make_sshd, target):
    server = make_sshd()
    settings = target(server, known="")
    daemon = make_daemon({"targets": {"t": settings}})
    assert refusal(daemon).name == "host-key-unknown"
    with open(settings["user_known_hosts_file"], "a", encoding="ascii") as f:
        f.write("# about another host, and none\n" + server.known_hosts_line("elsewhere"))
    error = refusal(daemon)
    assert error.name == "host-key-unknown" and error.text.endswith("or after: sshlease reconnect t")
    assert connections_made(server) == 1, "nothing has changed about this host, and it was dialed again"
    with open(settings["user_known_hosts_file"], "a", encoding="ascii") as f:
        f.write(server.known_hosts_line())
    soon(daemon)


def test_a_key_file_that_is_replaced(make_daemon, make_sshd, target, keys, key):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, identity_file=key)}})
    error = refusal(daemon)
    assert error.name == "auth-failed" and error.text.endswith("or after: sshlease reconnect t")
    refusal(daemon)
    assert connections_made(server) == 1
    replace(key, keys.ed25519)
    soon(daemon)


def test_a_key_that_is_added_to_the_agent(make_daemon, make_sshd, target, keys, key, agent):
    server = make_sshd()
    add(agent, key)
    settings = target(server, identity_agent=agent)
    del settings["identity_file"]
    daemon = make_daemon({"targets": {"t": settings}})
    assert refusal(daemon).name == "auth-failed"
    refusal(daemon)
    assert connections_made(server) == 1
    add(agent, keys.ed25519)
    soon(daemon)


def test_an_agent_that_comes_after_a_key_was_refused(make_daemon, make_sshd, target, keys, key, tmp_path):
    path = str(tmp_path / "late")
    daemon = make_daemon({"targets": {"t": target(make_sshd(), identity_file=key, identity_agent=path)}})
    assert refusal(daemon).name == "auth-failed"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(path), "the agent's socket")
        add(path, keys.ed25519)
        soon(daemon)
    finally:
        process.terminate()
        process.wait()


def test_an_agent_that_hangs_holds_nobody_up_for_long(make_daemon, make_sshd, target, keys, key, tmp_path):
    path = str(tmp_path / "agent")
    daemon = make_daemon({"targets": {"t": target(make_sshd(), identity_file=key, identity_agent=path)}})
    assert refusal(daemon).name == "auth-failed"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(path)
        hung.listen()
        begin = time.monotonic()
        for _ in range(2):
            assert refusal(daemon).name == "auth-failed"
        assert time.monotonic() - begin < SOON
        # Nor does it keep anything else from being seen.
        replace(key, keys.ed25519)
        soon(daemon)


def test_a_key_that_the_server_comes_to_know(make_daemon, make_sshd, target, keys, key, account):
    """Nothing changes here. In the one-user mode who asks after a second has it tried again; else auth_retry passes, or an
    operator acts."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, identity_file=key)}}, args=["--user"])
    error = refusal(daemon)
    assert error.name == "auth-failed" and "; next try in 1 s, or after: sshlease reconnect t" in error.text, error.text
    with open(server.authorized_keys, "a", encoding="ascii") as f:
        f.write(keys.public(keys.stranger) + "\n")
    begin = time.monotonic()
    until(lambda: admits(daemon), "the key to be tried again", timeout=SOON)
    assert connections_made(server) == 2 and time.monotonic() - begin < SOON


def admits(daemon):
    try:
        daemon.leased().release()
    except native.Error as e:
        assert e.name == "auth-failed"
        return False
    return True


def test_who_asks_all_the_time_is_no_flood(make_daemon, make_sshd, target, key):
    """Each refusal in a row doubles the pause, and the status says when the next try is due."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, identity_file=key)}}, args=["--user"])
    begin, pauses = time.monotonic(), set()
    while connections_made(server) < 4:
        refusal(daemon)
        pauses.add((daemon.target()["retry_in_ms"] + 999) // 1000)
    assert 7 <= time.monotonic() - begin < 14  # 1 + 2 + 4
    assert pauses >= {1, 2, 4, 8} and max(pauses) == 8, pauses


@pytest.mark.root
def test_who_may_not_reconnect_is_told_who_may(make_daemon, make_sshd, target, key, account, reachable):
    daemon = make_daemon({"targets": {"t": target(make_sshd(), identity_file=key, allow={"users": [account.pw_name]})}})
    done = daemon.cli("exec", "t", "--", "true", user=account)
    assert done.returncode == 255 and done.stderr.endswith(b", or after an administrator's: sshlease reconnect t\n"), done


@pytest.fixture
def guarded(keys):
    """A server that takes a password, and tells what it was sent."""
    odd_server = pytest.importorskip("odd_server", reason="needs paramiko")
    server = odd_server.OddServer(keys, "publickey,password", password="right", algorithms=())
    yield server
    server.stop()


@pytest.mark.parametrize("args", [(), ("--user",)], ids=["system", "user"])
def test_a_password_that_was_refused_is_not_sent_again(make_daemon, guarded, target, key, keys, tmp_path, args):
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    daemon = make_daemon({"targets": {"t": target(guarded, identity_file=key, password={"file": str(secret)})}}, args=args)
    assert refusal(daemon).name == "auth-failed"
    replace(key, keys.stranger)
    assert refusal(daemon).name == "auth-failed"
    assert [s for s in guarded.seen if s[0] == "password"] == [("password", "wrong")]
    secret.write_text("right")
    begin = time.monotonic()
    assert daemon.leased().run("anything").end.exit_status == 0
    assert time.monotonic() - begin < SOON
    assert [s for s in guarded.seen if s[0] == "password"] == [("password", "wrong"), ("password", "right")]


# --- connections that are there ---------------------------------------------------------------------------------------

def logins(server):
    return len(server.log.matches("Accepted publickey"))


def reload_and_count(daemon, server):
    """How many logins the next command took, after a reload."""
    before = logins(server)
    daemon.client().reload()
    client = logs_in(daemon)
    client.release()
    return logins(server) - before


def test_a_reload_drops_what_was_made_of_another_key(make_daemon, make_sshd, target, keys, key):
    server = make_sshd()
    replace(key, keys.ed25519)
    daemon = make_daemon({"targets": {"t": target(server, identity_file=key)}})
    held, idle = daemon.leased(), daemon.leased()
    idle.release()
    assert reload_and_count(daemon, server) == 0, "nothing has changed"
    replace(key, keys.ecdsa)
    assert reload_and_count(daemon, server) == 1
    assert held.run("echo mine").stdout == b"mine\n"
    assert reload_and_count(daemon, server) == 0, "what is held of the old ones makes the new ones no older"
    held.release()
    daemon.await_connections(idle=1, leased=0, closing=0)
    assert server.log.matches("Accepted publickey")[-1]
    assert "ECDSA" in [line for line in server.log.lines if "Accepted publickey" in line][-1]


def test_a_reload_drops_what_known_hosts_no_longer_says(make_daemon, make_sshd, target):
    server = make_sshd()
    settings = target(server)
    daemon = make_daemon({"targets": {"t": settings}})
    logs_in(daemon).release()
    with open(settings["user_known_hosts_file"], "a", encoding="ascii") as f:
        f.write(server.known_hosts_line("elsewhere"))
    assert reload_and_count(daemon, server) == 0, "that was about another host"
    with open(settings["user_known_hosts_file"], "w", encoding="ascii") as f:
        f.write(server.known_hosts_line(marker="@revoked "))
    daemon.client().reload()
    assert refusal(daemon).name == "host-key-revoked"


def test_a_reload_keeps_what_has_written_its_host_down(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, known="", strict_host_key_checking="accept-new")}})
    logs_in(daemon).release()
    assert reload_and_count(daemon, server) == 0


def test_a_reload_drops_the_connections_of_one_user_too(make_daemon, make_sshd, keys, key, tmp_path):
    """To targets that no file has."""
    server = make_sshd()
    replace(key, keys.ed25519)
    known = tmp_path / "known"
    known.write_text(server.known_hosts_line())
    daemon = make_daemon({"defaults": {"identity_file": key, "user_known_hosts_file": str(known)}}, args=["--user"])
    name = f"{server.user}@127.0.0.1:{server.port}"
    daemon.leased(name).release()
    replace(key, keys.ecdsa)
    daemon.client().reload()
    daemon.leased(name).release()
    assert logins(server) == 2


@pytest.mark.root
def test_a_reload_follows_a_host_that_has_moved(make_daemon, make_sshd, target):
    port = free_port()
    server = make_sshd(f"ListenAddress 127.0.0.2:{port}", port=port)
    with tempfile.NamedTemporaryFile("w", prefix="sshlease-hosts.") as hosts:
        def point(address):
            hosts.seek(0)
            hosts.truncate()
            hosts.write(f"127.0.0.1 localhost\n{address} moving.test\n")
            hosts.flush()
        point("127.0.0.1")
        daemon = make_daemon({"targets": {"t": {**target(server, known=server.known_hosts_line(f"[moving.test]:{port}")),
                                                "host": "moving.test"}}}, start=False)
        daemon.wrap = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts.name} /etc/hosts && exec "$@"', "sh"]
        daemon.start()

        def address():
            with daemon.leased() as client:
                words = client.run("echo $SSH_CONNECTION").stdout.split()
                client.release()
            return words[2].decode()
        assert address() == "127.0.0.1"
        assert reload_and_count(daemon, server) == 0
        point("127.0.0.2")
        assert address() == "127.0.0.1", "a name is not looked up for a connection that is there"
        assert reload_and_count(daemon, server) == 1
        assert address() == "127.0.0.2"


# --- reconnect --------------------------------------------------------------------------------------------------------

def test_reconnect(make_daemon, make_sshd, target):
    """For whoever runs the daemon it drops all of them; what is leased goes when it is given back."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server), "u": target(server)}})
    held, idle, other = daemon.leased(), daemon.leased(), daemon.leased("u")
    idle.release()
    other.release()
    done = daemon.cli("reconnect", "t")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    until(lambda: server.connections() == 2, "the idle connection closed, and no other")
    logs_in(daemon).release()
    assert logins(server) == 4
    assert held.run("echo mine").stdout == b"mine\n"
    held.release()
    daemon.await_connections(idle=1, leased=0, closing=0)
    done = daemon.cli("reconnect", "nowhere")
    assert done.returncode == 1 and b"no such target" in done.stderr
    assert daemon.cli("reconnect").returncode == 2


def test_reconnect_forgets_failed_logins(make_daemon, make_sshd, target, keys, key):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, identity_file=key)}})
    assert refusal(daemon).name == "auth-failed"
    with open(server.authorized_keys, "a", encoding="ascii") as f:
        f.write(keys.public(keys.stranger) + "\n")
    assert daemon.cli("reconnect", "t").returncode == 0
    soon(daemon)


@pytest.mark.root
def test_reconnect_is_for_ones_own_connections(make_daemon, make_sshd, target, account, reachable):
    server = make_sshd()
    allow = {"users": [account.pw_name]}
    daemon = make_daemon({"targets": {"t": target(server, allow=allow), "hidden": target(server)}})
    daemon.leased().release()
    assert daemon.cli("exec", "t", "--", "true", user=account).returncode == 0
    assert logins(server) == 2
    assert daemon.cli("reconnect", "t", user=account).returncode == 0
    until(lambda: server.connections() == 1, "one's own connection closed")
    logs_in(daemon).release()
    assert logins(server) == 2, "it was somebody else's"
    done = daemon.cli("reconnect", "hidden", user=account)
    assert done.returncode == 1 and b"not allowed" in done.stderr
