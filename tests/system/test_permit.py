# SPDX-License-Identifier: MIT
"""Where the daemon connects to for those who come from the server's side (`ssh -R`): what permit_remote_open names; by
default nowhere as a system service, and anywhere in the one-user mode."""

import os
import socket

import pytest

import ssh_tools
from sshd import free_port
from test_mux_forward import forwarding, leave, socks5
from tunnels import Far, assert_carries, dial, digest, read_all
from waiting import until

LEADS = "-R may not lead to \"{}\": the target's permit_remote_open does not name it"
NOWHERE = "-R may lead nowhere: the target's permit_remote_open is none"


def refused(tools, name, args, reason):
    """Before anything listens, and before any command runs; by an ssh with a session as by one without."""
    for command in ([name, "echo must not be seen"], ["-N", name], ["-O", "forward", name]):
        done = tools.run("ssh", *args, *command, timeout=20)
        assert (done.returncode, done.stdout) == (255, b""), (command, done.stderr)
        assert reason.encode() in done.stderr, done.stderr
        assert b"no daemon" not in done.stderr  # no way round us was tried


def is_untouched(far):
    far.socket.setblocking(False)
    try:
        far.socket.accept()
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize("said", [{}, {"permit_remote_open": "none"}], ids=["by-default", "none"])
def test_a_service_leads_nowhere(make_tools, sshd, target, said):
    """Whoever asks, root as well."""
    tools = make_tools({"t": target(sshd, kill_grace="300ms", **said)})
    with Far() as near:
        for to in (f"127.0.0.1:{near.port}", f"localhost:{near.port}", f"LOCALHOST:{near.port}"):
            port = free_port()
            refused(tools, "t", ["-R", f"{port}:{to}"], LEADS.format(to))
            assert dial(port) is None
        refused(tools, "t", ["-R", f"{free_port()}:[::1]:{near.port}"], LEADS.format(f"[::1]:{near.port}"))
        refused(tools, "t", ["-R", str(free_port())], NOWHERE)
        assert is_untouched(near)
        # Nothing that leads to the server's side, or comes from here, is meant.
        port = free_port()
        with forwarding(tools, "-L", f"{port}:127.0.0.1:{near.port}"):
            until(lambda: dial(port), "somebody listens").close()
    assert tools.good("ssh", "t", "echo fine") == b"fine\n"


def test_a_unix_socket_of_ones_own_is_not_asked_about(make_tools, sshd, target, tmp_path):
    """The daemon opens it for its own user only, who needs nobody for that."""
    tools = make_tools({"t": target(sshd, kill_grace="300ms")})
    port, near = free_port(), str(tmp_path / "near.sock")
    with Far(path=near, serve=digest), forwarding(tools, "-R", f"{port}:{near}") as process:
        assert_carries(port)
        leave(process)


def test_where_it_may_lead(make_tools, sshd, target):
    with Far(serve=digest) as near, Far() as other:
        tools = make_tools({"t": target(sshd, kill_grace="300ms", permit_remote_open=[f"127.0.0.1:{near.port}", "web:*"])})
        ports = free_port(), free_port()
        good, bad = f"{ports[0]}:127.0.0.1:{near.port}", f"{ports[1]}:127.0.0.1:{other.port}"
        with forwarding(tools, "-R", good) as process:
            assert_carries(ports[0])
            leave(process)
        # As it is spelled; and all of them or none, for an ssh with a session.
        refused(tools, "t", ["-R", f"{ports[0]}:localhost:{near.port}"], LEADS.format(f"localhost:{near.port}"))
        refused(tools, "t", ["-R", bad], LEADS.format(f"127.0.0.1:{other.port}"))
        done = tools.run("ssh", "-R", good, "-R", bad, "t", "echo must not be seen")
        assert (done.returncode, done.stdout) == (255, b"") and LEADS.format(f"127.0.0.1:{other.port}").encode() in done.stderr
        until(lambda: dial(ports[0]) is None, "the port is free")
        assert is_untouched(other)
        # By SOCKS as well, when it says where.
        with forwarding(tools, "-R", str(ports[0])):
            client, answer = socks5(ports[0], b"127.0.0.1", near.port)
            with client:
                assert answer[:2] == b"\5\0"
            client, answer = socks5(ports[0], b"127.0.0.1", other.port)
            with client:
                assert answer[:2] == b"\5\1"
        assert is_untouched(other)


def test_a_reload_that_permits_less(make_tools, sshd, target):
    settings = target(sshd, kill_grace="300ms")
    tools = make_tools({"t": {**settings, "permit_remote_open": "any"}})
    port = free_port()
    with Far(serve=digest) as near, forwarding(tools, "-R", f"{port}:127.0.0.1:{near.port}"):
        assert_carries(port)
        tools.daemon.write_config({**tools.daemon.config, "targets": {"t": settings}})
        assert tools.daemon.cli("reload").returncode == 0
        with dial(port) as client:
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
        tools.daemon.log.find(r"permit_remote_open does not let it")


# --- the one-user mode ---

@pytest.fixture
def own(make_daemon, sshd, keys, tmp_path_factory):
    """own(**defaults): a daemon of one's own, and ssh for the sshd's address."""
    def make(**defaults):
        directory = tmp_path_factory.mktemp("o")
        (directory / "known_hosts").write_text(sshd.known_hosts_line())
        os.chmod(directory, 0o700)
        defaults.update(identity_file=keys.ed25519, user_known_hosts_file=str(directory / "known_hosts"))
        daemon = make_daemon({"defaults": defaults}, args=["--user"], env={"XDG_RUNTIME_DIR": str(directory)})
        tools = ssh_tools.Tools.__new__(ssh_tools.Tools)
        tools.daemon, tools.dir, tools.config = daemon, str(directory), str(directory / "ssh_config")
        tools.write_config(f"{sshd.user}@127.0.0.1:{sshd.port}")
        return tools
    return make


def test_of_ones_own_it_leads_anywhere(own):
    tools = own()
    port = free_port()
    with Far(serve=digest) as near:
        tools.good("ssh", "-O", "forward", "-R", f"{port}:127.0.0.1:{near.port}", "127.0.0.1")
        assert_carries(port)
        tools.good("ssh", "-O", "cancel", "-R", f"{port}:127.0.0.1:{near.port}", "127.0.0.1")
        until(lambda: dial(port) is None, "the port is free")
        tools.good("ssh", "-O", "forward", "-R", str(port), "127.0.0.1")
        client, answer = socks5(port, b"127.0.0.1", near.port)
        with client:
            assert answer[:2] == b"\5\0"
        tools.good("ssh", "-O", "cancel", "-R", str(port), "127.0.0.1")


def test_of_ones_own_with_a_limit(own):
    tools = own(permit_remote_open="none")
    with Far() as near:
        refused(tools, "127.0.0.1", ["-R", f"{free_port()}:127.0.0.1:{near.port}"], LEADS.format(f"127.0.0.1:{near.port}"))
        refused(tools, "127.0.0.1", ["-R", str(free_port())], NOWHERE)
        assert is_untouched(near)
