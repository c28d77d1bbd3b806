# SPDX-License-Identifier: MIT
"""`ssh -O …` at the mux sockets: what a master is asked for besides sessions and forwards."""

import contextlib
import os
import subprocess
import sys

import pytest

from ssh_tools import other_user
from sshd import free_port
from tunnels import Far, assert_carries, dial, digest
from waiting import until


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


def test_exit_ends_what_only_holds_forwards(tools, server):
    """Whichever ssh it is: one that is in the foreground, one that went to the background, one that has returned."""
    ports = [free_port(), free_port(), free_port()]
    with Far(serve=digest) as far, contextlib.ExitStack() as stack:
        def start(*args):
            process = tools.start("ssh", *args, stdout=subprocess.DEVNULL)
            stack.callback(end, process)
            return process
        to = f"127.0.0.1:{far.port}"
        held, bare = start("-N", "-L", f"{ports[0]}:{to}", "t"), start("-N", "t")
        other = start("-N", "-L", f"{ports[1]}:{to}", "other")
        command = start("-L", f"{ports[2]}:{to}", "t", "cat")
        background = go_to_the_background(tools, free_port(), far.port)
        for port in ports:
            assert_carries(port)
        tools.await_leases(5)
        tools.good("ssh", "-O", "stop", "t")  # which lets them be
        assert_carries(ports[0])
        assert held.poll() is None and bare.poll() is None
        tools.good("ssh", "-O", "exit", "t")
        assert (held.wait(20), held.stderr.read()) == (255, b"")  # as of a master's end
        assert (bare.wait(20), bare.stderr.read()) == (255, b"")
        until(lambda: not os.path.exists(f"/proc/{background}"), "what is in the background has ended")
        assert dial(ports[0]) is None
        assert_carries(ports[1])
        assert_carries(ports[2])
        tools.await_leases(2)
        assert other.poll() is None and command.poll() is None


def end(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stderr.close()


def go_to_the_background(tools, port, far):
    """`ssh -fN -L` as newer ones than Debian 12's do it: the process that holds the forward."""
    env = {**tools.env(), "SOCKET": os.path.join(tools.dir, "mux", "t"), "PORT": str(port), "FAR": str(far)}
    forker = os.path.join(os.path.dirname(__file__), "mux_forker.py")
    return int(subprocess.run([sys.executable, forker, "-fN"], env=env, capture_output=True, check=True,
                              timeout=20).stdout)


def test_proxy_mode_is_refused(tools):
    done = tools.run("ssh", "-O", "proxy", "t")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"target t: sshleased does not speak the proxy mode of OpenSSH's sockets; leave out -O proxy" in done.stderr


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
