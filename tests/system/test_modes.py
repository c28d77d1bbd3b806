# SPDX-License-Identifier: MIT
"""The two ways to run, and who may lease what."""

import json
import os
import pwd
import shutil
import subprocess

import pytest

import native
from daemon import program, sanitizer_env
from native import Client


@pytest.fixture
def nobody():
    return pwd.getpwnam("nobody")


def as_other(daemon, user, *words, **more):
    """`sshlease WORDS` as somebody else."""
    return daemon.cli(*words, user=user, **more)


@pytest.mark.root
def test_allow_by_user_and_group(make_daemon, sshd, target, account, nobody, reachable):
    daemon = make_daemon({"targets": {
        "by_user": target(sshd, allow={"users": [account.pw_name]}),
        "by_uid": target(sshd, allow={"users": [str(account.pw_uid)]}),
        "by_group": target(sshd, allow={"groups": [account.pw_name]}),
        "for_nobody": target(sshd, allow={"users": ["nobody"]}),
        "not_said": target(sshd),
    }})
    for name in ("by_user", "by_group"):
        assert as_other(daemon, account, "exec", name, "--", "echo in").stdout == b"in\n"
    for user, name in ((account, "for_nobody"), (nobody, "by_user"), (nobody, "by_group"), (account, "not_said")):
        done = as_other(daemon, user, "exec", name, "--", "echo in")
        assert done.returncode == 255 and not done.stdout
        assert b"not allowed" in done.stderr or b"no such target" in done.stderr, done.stderr
    assert as_other(daemon, nobody, "exec", "for_nobody", "--", "echo in").stdout == b"in\n"
    # Root may.
    assert daemon.leased("by_user").run("echo root").stdout == b"root\n"


@pytest.mark.root
def test_connections_are_not_shared_between_owners(make_daemon, make_sshd, target, account, nobody, reachable):
    server = make_sshd()
    daemon = make_daemon({"targets": {
        "t": target(server, allow={"users": [account.pw_name, "nobody"]}),
        "one": target(server, max_connections=1, allow={"users": [account.pw_name, "nobody"]}),
        "shared": target(server, max_connections=1, owners="shared", allow={"users": [account.pw_name, "nobody"]}),
    }})

    def logins():
        return len(server.log.matches("Accepted publickey"))
    for name, user, more in (("t", account, 1), ("t", account, 0), ("t", nobody, 1), ("one", account, 1),
                             ("one", nobody, 1), ("shared", account, 1), ("shared", nobody, 0)):
        before = logins()
        assert as_other(daemon, user, "exec", name, "--", "echo in").stdout == b"in\n"
        assert logins() == before + more, (name, user.pw_name)


@pytest.mark.root
def test_administration_is_for_administrators(make_daemon, sshd, target, account, nobody, reachable):
    everyone = {"users": [account.pw_name, "nobody"]}
    daemon = make_daemon({"targets": {"t": target(sshd, allow=everyone), "hidden": target(sshd)},
                          "admin": {"users": [account.pw_name]}})
    client = daemon.leased()
    done = as_other(daemon, nobody, "reload")
    assert done.returncode != 0 and b"allowed" in done.stderr
    done = as_other(daemon, nobody, "end", client.lease)
    assert done.returncode != 0 and (b"allowed" in done.stderr or b"no such lease" in done.stderr)
    status = json.loads(as_other(daemon, nobody, "status", "--json").stdout)
    assert [t["name"] for t in status["targets"]] == ["t"] and not status["leases"]
    assert client.run("echo mine").stdout == b"mine\n"
    assert b'"hidden"' in as_other(daemon, account, "status", "--json").stdout
    assert as_other(daemon, account, "reload").returncode == 0
    assert as_other(daemon, account, "end", client.lease).returncode == 0
    client.pump(lambda: client.ended)


@pytest.mark.root
def test_a_socket_that_others_may_not_open(make_daemon, sshd, target, nobody, reachable):
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    os.chmod(daemon.path, 0o600)
    done = as_other(daemon, nobody, "exec", "t", "--", "true")
    assert done.returncode == 255 and daemon.path.encode() in done.stderr and b"ermission" in done.stderr


def test_the_system_way_knows_configured_targets_only(daemon, sshd):
    if os.geteuid() != 0:
        pytest.skip("this account's daemon is one for one user")
    with pytest.raises(native.Error) as e:
        daemon.client().acquire(f"{sshd.user}@127.0.0.1:{sshd.port}")
    assert e.value.name == "no-target"


@pytest.fixture
def home(account, sshd, keys):
    """The account's own ~/.ssh, with a key and known_hosts; put away again afterwards. One test at a time has it."""
    import fcntl

    import account as account_module
    if os.geteuid() != 0:
        pytest.skip("would change this account's own ~/.ssh")
    ssh = os.path.join(account.pw_dir, ".ssh")
    with open(os.path.join(account_module.LOCKS, "sshlease-system.home"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(ssh, ignore_errors=True)
        os.mkdir(ssh, 0o700)
        shutil.copy(keys.ed25519, os.path.join(ssh, "id_ed25519"))
        with open(os.path.join(ssh, "known_hosts"), "w", encoding="ascii") as f:
            f.write(sshd.known_hosts_line())
        for path in (ssh, *(os.path.join(ssh, n) for n in os.listdir(ssh))):
            os.chown(path, account.pw_uid, account.pw_gid)
        yield ssh
        shutil.rmtree(ssh, ignore_errors=True)


@pytest.mark.root
def test_for_one_user_a_target_needs_no_configuration(make_daemon, sshd, account, home, reachable):
    daemon = make_daemon({}, user=account, use_config=False, start=False)
    daemon.env["XDG_RUNTIME_DIR"] = daemon.dir
    daemon.path = os.path.join(daemon.dir, "sshleased.sock")
    daemon.start()
    assert os.stat(daemon.path).st_mode & 0o077 == 0, "the socket of one user is open to others"
    name = f"{sshd.user}@127.0.0.1:{sshd.port}"
    done = daemon.cli("exec", name, "--", "id -un", user=account)
    assert (done.returncode, done.stdout) == (0, f"{account.pw_name}\n".encode()), done.stderr
    done = daemon.cli("exec", f"127.0.0.1:{sshd.port}", "--", "id -un", user=account)
    assert done.stdout in (f"{account.pw_name}\n".encode(), b"")
    with Client(daemon.path) as client:
        client.acquire(name)
        assert client.run("echo in").stdout == b"in\n"
        with pytest.raises(native.Error):
            daemon.client().acquire(f"{sshd.user}@127.0.0.1:{sshd.port}:9")
    assert name in daemon.cli("status", user=account).stdout.decode()


@pytest.mark.root
def test_the_command_line_finds_the_daemon(make_daemon, sshd, target):
    """$SSHLEASE_SOCKET, else $XDG_RUNTIME_DIR/sshleased.sock."""
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    os.symlink(daemon.path, os.path.join(daemon.dir, "sshleased.sock"))
    env = {k: v for k, v in daemon.cli_env().items() if k != "SSHLEASE_SOCKET"}
    done = subprocess.run([program("sshlease"), "exec", "t", "--", "echo found"], capture_output=True, check=False,
                          env={**env, "XDG_RUNTIME_DIR": daemon.dir}, stdin=subprocess.DEVNULL)
    assert done.stdout == b"found\n", done.stderr


@pytest.mark.root
def test_a_daemon_of_ones_own_without_xdg_runtime_dir(account, reachable):
    """cron and su do not set it. In a mount namespace with a /run of our own."""
    place = f"/run/user/{account.pw_uid}"
    script = f"""mount -t tmpfs none /run && mkdir /run/user
        install -d -m 0700 -o {account.pw_uid} {place}
        exec setpriv --reuid={account.pw_uid} --regid={account.pw_gid} --clear-groups --inh-caps=-all \
            sh -c '{program("sshleased")} --user 2>&1 | while read -r line; do case $line in (*"notice listener"*) echo "$line"
                {program("sshlease")} mux-ensure --print a@b; {program("sshlease")} stop;; (*error*) echo "$line";; esac; done'"""
    env = {name: value for name, value in os.environ.items() if name not in ("XDG_RUNTIME_DIR", "SSHLEASE_SOCKET")}
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60,
                          env={**env, **sanitizer_env(), "HOME": account.pw_dir}, stdin=subprocess.DEVNULL)
    listening, mux = done.stdout.splitlines()
    assert listening.endswith(f"socket={place}/sshleased.sock") and mux == f"{place}/sshleased-mux/a@b:22", done
