"""`ssh -O …` at the mux sockets: what a master is asked for besides sessions and forwards."""

import os
import subprocess

import pytest

from ssh_tools import other_user
from sshd import free_port
from tunnels import Far, assert_carries, dial, digest


@pytest.fixture
def server(make_sshd):
    return make_sshd()


@pytest.fixture
def tools(make_tools, server, target):
    return make_tools({"t": target(server), "other": target(server)})


def logins(server):
    return sum(1 for _ in server.log.matches(r"Accepted publickey"))


def as_user(tools, account, *args):
    words = [*other_user(tools, account), *tools.words("ssh", *args)]
    return subprocess.run(words, env=tools.env(HOME="/"), stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=20)


def test_check(tools):
    done = tools.run("ssh", "-O", "check", "t")
    assert (done.returncode, done.stderr) == (0, b"Master running (pid=%d)\r\n" % tools.daemon.pid)
    assert tools.daemon.status()["leases"] == []


@pytest.mark.parametrize("verb, said", [("stop", b"Stop listening request sent.\r\n"), ("exit", b"Exit request sent.\r\n")])
def test_the_next_command_logs_in_anew(tools, server, verb, said):
    """As Ansible resets a connection."""
    for name in ("t", "t", "other"):
        tools.good("ssh", name, "true")
    assert logins(server) == 2
    assert tools.run("ssh", "-O", "check", "t").returncode == 0
    done = tools.run("ssh", "-O", verb, "t")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", said)
    tools.good("ssh", "other", "true")
    assert logins(server) == 2
    tools.good("ssh", "t", "true")
    tools.good("ssh", "t", "true")
    assert logins(server) == 3


@pytest.mark.root
def test_a_login_user_that_has_joined_a_group(tools, account):
    group = f"sshlease-{os.getpid()}"
    assert group not in tools.good("ssh", "t", "id -Gn").decode().split()
    subprocess.run(["groupadd", group], check=True)
    try:
        subprocess.run(["gpasswd", "-a", account.pw_name, group], check=True, capture_output=True)
        tools.good("ssh", "-O", "stop", "t")
        assert group in tools.good("ssh", "t", "id -Gn").decode().split()
    finally:
        subprocess.run(["groupdel", group], check=True)


@pytest.mark.parametrize("verb", ["stop", "exit"])
def test_what_runs_goes_on_and_its_connection_is_not_used_again(tools, server, verb):
    process = tools.start("ssh", "t", "cat")
    tools.await_leases(1)
    tools.good("ssh", "-O", verb, "t")
    out, err = process.communicate(b"still there\n", timeout=20)
    assert (process.returncode, out, err) == (0, b"still there\n", b"")
    tools.good("ssh", "t", "true")
    assert logins(server) == 2


@pytest.mark.root
@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("verb", ["stop", "exit"])
def test_nobody_elses_connections(make_tools, server, target, account, verb):
    tools = make_tools({"t": target(server, allow={"users": [0, account.pw_uid]})})
    tools.good("ssh", "t", "true")
    port = free_port()
    with Far(serve=digest) as far:
        tools.good("ssh", "-O", "forward", "-L", f"{port}:127.0.0.1:{far.port}", "t")
        assert as_user(tools, account, "-O", verb, "t").returncode == 0
        assert_carries(port)
        tools.good("ssh", "-O", "cancel", "-L", f"{port}:127.0.0.1:{far.port}", "t")
    tools.await_leases(0)
    assert logins(server) == 1
    tools.good("ssh", "t", "true")
    assert logins(server) == 1


def test_exit_ends_the_forwards_that_have_no_ssh(tools):
    ports = [free_port(), free_port()]
    with Far(serve=digest) as far:
        forwards = [f"{port}:127.0.0.1:{far.port}" for port in ports]
        tools.good("ssh", "-O", "forward", "-L", forwards[0], "t")
        tools.good("ssh", "-fN", "-L", forwards[1], "t")
        tools.good("ssh", "-O", "stop", "t")  # which lets them be, as a master does
        for port in ports:
            assert_carries(port)
        tools.good("ssh", "-O", "exit", "other")
        for port in ports:
            assert_carries(port)
        tools.good("ssh", "-O", "exit", "t")
        assert dial(ports[0]) is None and dial(ports[1]) is None
    tools.await_leases(0)


def test_proxy_mode_is_refused(tools):
    done = tools.run("ssh", "-O", "proxy", "t")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"target t: sshleased does not speak the proxy mode of OpenSSH's sockets" in done.stderr


@pytest.mark.root
@pytest.mark.usefixtures("reachable")
def test_who_may_not_lease_may_not_reset(make_tools, server, target, account):
    tools = make_tools({"t": target(server)})
    tools.good("ssh", "t", "true")
    for verb in ("stop", "exit"):
        done = as_user(tools, account, "-O", verb, "t")
        assert done.returncode == 255 and b"not allowed to lease t" in done.stderr, done
    tools.good("ssh", "t", "true")
    assert logins(server) == 1
