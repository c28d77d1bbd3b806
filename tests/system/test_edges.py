# SPDX-License-Identifier: MIT
"""Corners where something could be forgotten: a loop that never rests, an answer nobody waits for, a command nobody
wants any more."""

import fcntl
import os
import subprocess
import time

import native
import pytest
from waiting import until

FAST = {"kill_grace": "300ms"}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("how", ["lost", "reclaimed", "refused"])
def test_the_loop_rests_when_the_last_connection_has_gone(make_daemon, make_sshd, make_proxy, target, how):
    server = make_sshd()
    proxy = make_proxy(server)
    settings = target(server, via=proxy, max_connections=1, **FAST)
    if how == "refused":
        settings["identity_file"] = server.keys.stranger
    daemon = make_daemon({"targets": {"t": settings}})
    client = daemon.client()
    if how == "refused":
        with pytest.raises(native.Error):
            client.acquire("t")
    else:
        client.acquire("t")
        client.run("true")
    if how == "lost":
        client.release()
        proxy.cut()
    client.close()
    daemon.await_connections(dialing=0, idle=0, leased=0, draining=0, closing=0)
    before = cpu_seconds(daemon.pid)
    time.sleep(1)
    assert cpu_seconds(daemon.pid) - before < 0.2, "the daemon is busy with nothing to do"


@pytest.mark.pty
def test_a_command_that_was_not_sent_yet_never_runs_when_its_client_has_gone(make_daemon, make_sshd, make_proxy, target):
    """The server still owes the answer to the terminal's request when the client dies: exec must not follow it."""
    server = make_sshd()
    proxy = make_proxy(server)
    daemon = make_daemon({"targets": {"t": target(server, via=proxy, max_connections=1, **FAST)}})
    client = daemon.leased()
    for _ in range(3):  # by then a channel is pre-opened, and nothing is being found out of the server any more
        client.run("true")
    proxy.freeze("down")
    before = proxy.bytes["up"]
    client.open_stream(native.EXEC, "exec sleep 300", pty=("vt100", 80, 24))
    until(lambda: proxy.bytes["up"] > before, "the request for a terminal")
    client.close()
    daemon.await_connections(leased=0, draining=1)
    proxy.thaw()
    daemon.await_connections(leased=0, draining=0, closing=0)
    assert not server.log.matches(r"Starting session: .* on "), "the command of a dead client was started"


def test_a_connection_reset_while_a_key_is_decrypted_is_seen_at_once(make_daemon, make_sshd, make_proxy, target, keys, tmp_path):
    server = make_sshd()
    proxy = make_proxy(server)
    key = tmp_path / "slow"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-a", "100", "-f", key], check=True)
    with open(server.authorized_keys, "a", encoding="ascii") as f:
        f.write((tmp_path / "slow.pub").read_text())
    secret = tmp_path / "passphrase"
    secret.write_text("secret\n")
    settings = target(server, via=proxy, identity_file=str(key), passphrase={"file": str(secret)}, max_connections=1)
    daemon = make_daemon({"targets": {"t": settings}}, args=["--log-level", "debug"])
    client = daemon.client()
    client.start_acquire("t", acquire_timeout_ms=15000)
    daemon.log.find("host-key -> auth")
    time.sleep(0.5)
    proxy.cut()
    daemon.log.find(r"-> closing reason=dial-failed.*the server (reset|closed) the connection while logging in")


def test_a_locked_known_hosts_file_holds_nothing_up(make_daemon, make_sshd, target, tmp_path):
    """Whoever may read the file may lock it. A worker must not wait for that lock, nor the daemon's end for the worker, and
    nobody is kept out by it: the key is taken, and that it could not be written down is said."""
    server = make_sshd()
    settings = target(server, known="", strict_host_key_checking="accept-new", login_timeout="5s", max_connections=1)
    with open(settings["user_known_hosts_file"], encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        daemon = make_daemon({"targets": {"t": settings}})
        daemon.client().acquire("t", acquire_timeout_ms=4000)
        daemon.log.find(f"could not be written down: {f.name}: locked by another program")
        daemon.signal(15)
        assert daemon.await_exit(5) == 0


def test_a_new_key_is_not_accepted_while_a_known_hosts_file_cannot_be_read(make_daemon, make_sshd, target, tmp_path):
    """It may say that the key has changed, or is revoked."""
    server = make_sshd()
    settings = target(server, known="", strict_host_key_checking="accept-new")
    first, second = settings["user_known_hosts_file"], tmp_path / "loop"
    second.touch()
    settings["user_known_hosts_file"] = [first, str(second)]
    daemon = make_daemon({"targets": {"t": settings}})
    second.unlink()
    second.symlink_to(second)
    with pytest.raises(native.Error) as e:
        daemon.client().acquire("t", acquire_timeout_ms=4000)
    assert e.value.name == "host-key-unknown" and str(second) in e.value.text
    assert os.path.getsize(first) == 0


def test_a_command_that_is_refused_where_others_ran(keys, make_daemon, target):
    """It is asked once more on a fresh connection, but not where another one runs: nothing is taken away from that."""
    odd_server = pytest.importorskip("odd_server", reason="needs paramiko")
    server = odd_server.OddServer(keys, "publickey")
    daemon = make_daemon({"targets": {"t": target(server, **FAST)}})
    with daemon.leased() as client:
        assert client.run("first").end.exit_status == 0
        with pytest.raises(native.Error, match="stream-refused"):
            client.exec("refused").await_opened()
        assert len(server.logins) == 2
        assert client.run("second").end.exit_status == 0
        running = client.exec("goes on").await_opened()
        with pytest.raises(native.Error, match="stream-refused"):
            client.exec("refused").await_opened(10)
        assert len(server.logins) == 2 and running.end is None
    daemon.stop()
    server.stop()
