# SPDX-License-Identifier: MIT
"""Tunnels: `ssh -N` and its kin at the mux sockets. No shell is opened; what ssh holds is held until it goes."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys

import pytest

from ssh_tools import other_user, plain_words
from sshd import free_port
from tunnels import Far, assert_carries, await_port, dial, digest
from waiting import until


@pytest.fixture
def tools(make_tools, make_sshd, target):
    """With an sshd of its own, whose log says what was started there."""
    server = make_sshd()
    tools = make_tools({"t": target(server, max_connections=2, kill_grace="300ms", permit_remote_open="any")})
    tools.server = server
    return tools


def shells(server):
    return sum(1 for _ in server.log.matches(r"Starting session: shell"))


def gone(port):
    until(lambda: dial(port) is None, f"nobody listens at {port}")


@contextlib.contextmanager
def background(tools, *args, **options):
    """An ssh that a script has put into the background."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
    process = tools.start("ssh", *args, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("flags", [["-N"], ["-nNT"], ["-o", "SessionType=none"], ["-4NT"], ["-T"]], ids=" ".join)
def test_a_tunnel_stands_until_ssh_goes(tools, flags):
    """Without -N, too: a shell at /dev/null would end before it began."""
    port = free_port()
    with Far(serve=digest) as far, background(tools, *flags, "-L", f"{port}:127.0.0.1:{far.port}", "t") as process:
        assert_carries(port)
        assert tools.good("ssh", "t", "echo beside") == b"beside\n"
        assert process.poll() is None and len(tools.daemon.status()["leases"]) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 255
        assert process.stderr.read() == b""
        gone(port)
    tools.await_leases(0)
    assert shells(tools.server) == 0


def test_options_behind_the_host_and_an_input_that_stays_open(tools):
    port = free_port()
    with Far(serve=digest) as far, background(tools, "t", f"-L{port}:127.0.0.1:{far.port}", "-N",
                                              stdin=subprocess.PIPE) as process:
        assert_carries(port)
        process.stdin.close()
        assert_carries(port)
        assert process.poll() is None and shells(tools.server) == 0


def test_dynamic_and_remote(tools):
    port = free_port()
    with Far(serve=digest) as far, background(tools, "-N", "-R", f"{port}:127.0.0.1:{far.port}", "t"):
        assert_carries(port)
    gone(port)
    with background(tools, "-N", "-D", str(port), "t"):
        await_port(port).close()
    gone(port)
    assert shells(tools.server) == 0


def test_the_session_type_in_a_file(tools):
    port = free_port()
    with Far(serve=digest) as far:
        tools.write_config(more=f"Host t\n SessionType none\n StdinNull yes\n LocalForward {port} 127.0.0.1:{far.port}\n")
        with background(tools, "t", stdin=subprocess.PIPE):
            assert_carries(port)
        gone(port)
    assert shells(tools.server) == 0


def test_nothing_but_the_lease(tools):
    with background(tools, "-N", "t") as process:
        lease = tools.await_leases(1)[0]
        assert lease["pid"] == process.pid and lease["streams"] == 0
        process.kill()
    tools.await_leases(0)
    assert shells(tools.server) == 0


@pytest.mark.parametrize("flags", [["-f", "-N"], ["-fNT", "-o", "ExitOnForwardFailure=yes"], ["-nNf"]], ids=" ".join)
def test_it_stands_when_the_command_has_returned(tools, flags):
    """ssh 9.2 does not go to the background at a mux socket; it returns, as with a ControlMaster."""
    port = free_port()
    with Far(serve=digest) as far:
        forward = f"-L{port}:127.0.0.1:{far.port}"
        script = shlex.join(tools.words("ssh", *flags, forward, "t")) + " && echo up"
        done = subprocess.run(["sh", "-c", script], env=tools.env(), capture_output=True, check=False, timeout=20)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"up\n", b"")
        assert_carries(port)
        tools.good("ssh", *flags, forward, "t")  # once more: it is there
        assert_carries(port)
        assert [lease["label"] for lease in tools.await_leases(1)] == [f"mux -L {port}:127.0.0.1:{far.port}"]
        tools.good("ssh", "-O", "cancel", forward, "t")
        gone(port)
    tools.await_leases(0)
    assert shells(tools.server) == 0


def test_without_a_forward_it_returns_and_holds_nothing(tools):
    tools.good("ssh", "-fN", "t")
    tools.await_leases(0)
    assert shells(tools.server) == 0


def test_an_ssh_that_does_go_to_the_background(tools):
    """Killed, it ends its tunnel."""
    port = free_port()
    with Far(serve=digest) as far:
        env = {**tools.env(), "SOCKET": os.path.join(tools.dir, "mux", "t"), "PORT": str(port), "FAR": str(far.port)}
        done = subprocess.run([sys.executable, os.path.join(os.path.dirname(__file__), "mux_forker.py"), "-fN"], env=env,
                              capture_output=True, check=True, timeout=20)
        assert_carries(port)
        # A whole second ssh -fN has been looked at meanwhile.
        tools.good("ssh", "-fN", "t")
        assert_carries(port)
        os.kill(int(done.stdout), signal.SIGKILL)
        gone(port)
    tools.await_leases(0)


@pytest.mark.parametrize("flags", [["-N"], ["-fN"], ["-N", "-oExitOnForwardFailure=yes"]], ids=" ".join)
def test_a_port_in_use_is_an_error(tools, flags):
    with Far() as taken:
        done = tools.run("ssh", *flags, "-L", f"{taken.port}:127.0.0.1:1", "t")
        assert done.returncode == 255 and b"target t: " in done.stderr and b"Address already in use" in done.stderr
    assert tools.daemon.status()["leases"] == []


def test_the_longest_lease_ends_it_with_a_reason(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, lease_timeout="200ms", max_lease="500ms")})
    with background(tools, "-N", "t") as process:
        assert process.wait(20) == 255
        assert b"of t: the lease ran out" in process.stderr.read()


@pytest.mark.root
@pytest.mark.usefixtures("reachable")
def test_of_another_user(make_tools, sshd, target, account):
    tools = make_tools({"t": target(sshd, allow={"users": [account.pw_uid]})})
    port = free_port()
    with Far(serve=digest) as far:
        words = [*other_user(tools, account), *tools.words("ssh", "-N", "-L", f"{port}:127.0.0.1:{far.port}", "t")]
        # Its input does not end, so that only -N can have told.
        process = subprocess.Popen(words, env=tools.env(HOME="/"), stdin=subprocess.PIPE)
        assert_carries(port)
        assert tools.daemon.status()["leases"][0]["streams"] == 0
        process.kill()
        process.wait()
        process.stdin.close()
    gone(port)


def test_a_shell_where_one_is_meant(tools, keys, tmp_path):
    for words in (plain_words(tools.server, keys, tmp_path, "t"), tools.words("ssh", "t"),
                  tools.words("ssh", "-o", "ProxyCommand=nc -N x", "-T", "t")):
        done = subprocess.run(words, env=tools.env(), input=b"echo in a shell; exit 3\n", capture_output=True, check=False,
                              timeout=20)
        assert (done.returncode, done.stdout.splitlines()[-1:]) == (3, [b"in a shell"]), done
    assert shells(tools.server) == 3
