# SPDX-License-Identifier: MIT
"""ssh's forwards at the mux sockets, by the real ssh: -W, -L, -D, -R, -O forward and -O cancel, and what is refused."""

import contextlib
import hashlib
import os
import pathlib
import signal
import socket
import struct
import subprocess

import pytest

from daemon import as_user
from sshd import free_port
from tunnels import Far, assert_carries, await_port, dial, digest, echo, read_all
from waiting import until


@contextlib.contextmanager
def forwarding(tools, *args, command=("cat",)):
    """ssh with forwards and a session that lasts until it is left."""
    process = tools.start("ssh", *args, "t", *command)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
        process.wait()


def leave(process):
    """Ends the session of forwarding() as its end of input does."""
    process.stdin.close()
    process.stdin = open(os.devnull, "rb")
    assert process.wait(20) == 0


@pytest.fixture
def pooled(make_tools, sshd, target):
    """One connection: whatever leaks it is seen."""
    return make_tools({"t": target(sshd, max_connections=1, kill_grace="300ms", permit_remote_open="any")})


def logins(tools):
    return sum(1 for _ in tools.daemon.log.matches(r"dialing -> idle"))


# --- -W -----------------------------------------------------------------------------------------------------------------

def test_stdio(pooled):
    data = os.urandom(3 << 20)
    with Far(serve=echo) as far:
        assert pooled.good("ssh", "-W", f"127.0.0.1:{far.port}", "t", data=data) == data
    with Far() as far, forwarding(pooled, "-W", f"127.0.0.1:{far.port}", command=()) as process:
        with far.accept() as there:
            there.sendall(b"first\n")
            assert process.stdout.readline() == b"first\n"
            leases = pooled.daemon.status()["leases"]
            assert leases[0]["label"] == f"mux -W 127.0.0.1:{far.port}"
            process.kill()
            assert there.recv(1) == b""
    pooled.await_leases(0)


def test_stdio_carries_ssh(pooled, sshd, keys, tmp_path):
    """As ProxyCommand: what a ProxyJump through a target is made of."""
    known = tmp_path / "known"
    known.write_text(sshd.known_hosts_line(f"[127.0.0.1]:{sshd.port}"))
    inner = " ".join(pooled.words("ssh", "-W", "%h:%p", "t"))
    done = pooled.run("ssh", "-F", "none", "-o", f"ProxyCommand={inner}", "-o", f"UserKnownHostsFile={known}", "-i",
                      keys.ed25519, "-p", sshd.port, f"{sshd.user}@127.0.0.1", "echo through")
    assert (done.returncode, done.stdout) == (0, b"through\n"), done.stderr


def test_stdio_refused_is_loud(pooled):
    port = free_port()
    done = pooled.run("ssh", "-W", f"127.0.0.1:{port}", "t")
    assert done.returncode == 255
    assert f"target t: the server does not connect to 127.0.0.1:{port}: connect failed".encode() in done.stderr
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"
    assert logins(pooled) == 1


# --- -L -----------------------------------------------------------------------------------------------------------------

def test_local(pooled):
    port = free_port()
    with Far(serve=digest) as far, forwarding(pooled, "-L", f"{port}:127.0.0.1:{far.port}") as process:
        assert_carries(port)
        clients = [await_port(port) for _ in range(20)]
        for client in clients:
            with client:
                client.sendall(b"x")
                client.shutdown(socket.SHUT_WR)
                assert read_all(client) == hashlib.sha256(b"x").digest()
        process.stdin.write(b"still a session\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"still a session\n"
        assert len(pooled.daemon.status()["leases"]) == 1
        leave(process)
    assert dial(port) is None
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"
    assert logins(pooled) == 1  # it went back to its pool


@pytest.mark.parametrize("here", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_local_at_an_address_of_the_loopback_interface(pooled, here):
    port = free_port()
    with Far(serve=digest) as far, forwarding(pooled, "-L", f"{here}:{port}:127.0.0.1:{far.port}") as process:
        with until(lambda: connected(here, port), f"somebody listens at {here}:{port}") as client:
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == hashlib.sha256(b"").digest()
        leave(process)


def connected(host, port):
    with contextlib.suppress(ConnectionRefusedError):
        return socket.create_connection((host, port), 20)
    return None


def test_local_with_a_connection_open_at_the_end(pooled):
    port = free_port()
    with Far() as far, forwarding(pooled, "-L", f"{port}:127.0.0.1:{far.port}") as process:
        with await_port(port) as client, far.accept() as there:
            client.sendall(b"hello")
            assert there.recv(5) == b"hello"
            leave(process)
            assert client.recv(1) == b""
            assert there.recv(1) == b""
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"
    assert logins(pooled) == 1


def test_local_half_closed_by_the_far_end(pooled):
    port = free_port()
    with Far() as far, forwarding(pooled, "-L", f"{port}:127.0.0.1:{far.port}"):
        with await_port(port) as client, far.accept() as there:
            there.sendall(b"all there is")
            there.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"all there is"
            client.sendall(b"and back")
            client.shutdown(socket.SHUT_WR)
            assert read_all(there) == b"and back"


def test_local_unix_at_both_ends(pooled, remote_dir, tmp_path):
    near, there = str(tmp_path / "near.sock"), f"{remote_dir}/far.sock"
    with Far(path=there, serve=digest), forwarding(pooled, "-L", f"{near}:{there}") as process:
        assert_carries(near)
        assert os.stat(near).st_mode & 0o777 == 0o600
        leave(process)
    assert not os.path.exists(near)


def test_local_to_nobody(pooled):
    port, nobody = free_port(), free_port()
    with forwarding(pooled, "-L", f"{port}:127.0.0.1:{nobody}"):
        with await_port(port) as client:
            assert client.recv(1) == b""
        pooled.daemon.log.find(rf"connection failed .*127\.0\.0\.1:{nobody}: connect failed")


def test_a_killed_ssh_frees_port_and_connection(pooled):
    port = free_port()
    with Far() as far, forwarding(pooled, "-L", f"{port}:127.0.0.1:{far.port}") as process:
        with await_port(port) as client, far.accept() as there:
            process.send_signal(signal.SIGKILL)
            assert client.recv(1) == b""
            assert there.recv(1) == b""
        until(lambda: dial(port) is None, "the port is free")
    pooled.await_leases(0)
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"


def test_more_connections_than_there_may_be_wait_or_are_turned_away(pooled):
    port = free_port()
    with Far(serve=echo) as far, forwarding(pooled, "-L", f"{port}:127.0.0.1:{far.port}"):
        clients = [await_port(port) for _ in range(70)]
        answers = []
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(b"x")
        for client in clients:
            with client, contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                answers.append(read_all(client))
        assert answers.count(b"x") >= 60
        assert pooled.daemon.log.find(r"connection turned away: 64 are open already")
        with await_port(port) as client:
            client.sendall(b"again")
            assert client.recv(5) == b"again"


def test_on_a_shared_connection_one_ends_without_the_other(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, max_connections=1, sharing=2, kill_grace="300ms", permit_remote_open="any")})
    near, there = free_port(), free_port()
    with Far(serve=echo) as far, forwarding(tools, "-L", f"{near}:127.0.0.1:{far.port}") as one:
        with forwarding(tools, "-R", f"{there}:127.0.0.1:{far.port}") as other:
            with await_port(near) as client, await_port(there) as killed:
                for each in (client, killed):
                    each.sendall(b"x")
                    assert each.recv(1) == b"x"
                other.kill()
                assert killed.recv(1) == b""
                until(lambda: dial(there) is None, "the port is free")
                tools.await_leases(1)
                client.sendall(b"unhurt")
                assert client.recv(6) == b"unhurt"
        leave(one)
    assert logins(tools) == 1


# --- -D -----------------------------------------------------------------------------------------------------------------

def socks5(port, host, to, behind=b""):
    client = await_port(port)
    client.sendall(b"\5\1\0")
    assert client.recv(2, socket.MSG_WAITALL) == b"\5\0"
    client.sendall(b"\5\1\0\3" + bytes([len(host)]) + host + struct.pack(">H", to) + behind)
    return client, client.recv(10, socket.MSG_WAITALL)


def test_dynamic(pooled):
    port = free_port()
    with Far(serve=digest) as far, forwarding(pooled, "-D", str(port)) as process:
        client, answer = socks5(port, b"localhost", far.port, behind=b"sent at once, ")
        with client:
            assert answer[:2] == b"\5\0"
            client.sendall(b"and later")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == hashlib.sha256(b"sent at once, and later").digest()
        with await_port(port) as client:  # SOCKS 4a
            client.sendall(struct.pack(">BBH", 4, 1, far.port) + b"\0\0\0\1me\0" + b"127.0.0.1\0")
            assert client.recv(8, socket.MSG_WAITALL)[:2] == b"\0\x5a"
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == hashlib.sha256(b"").digest()
        client, answer = socks5(port, b"127.0.0.1", free_port())
        with client:
            assert answer[:2] == b"\5\1"
            assert client.recv(1) == b""
        with await_port(port) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert read_all(client) == b""
        leave(process)
    assert dial(port) is None


# --- -R -----------------------------------------------------------------------------------------------------------------

def test_remote(pooled):
    port = free_port()
    with Far(serve=digest) as near, forwarding(pooled, "-R", f"{port}:127.0.0.1:{near.port}") as process:
        assert_carries(port)
        clients = [await_port(port) for _ in range(10)]
        for client in clients:
            with client:
                client.shutdown(socket.SHUT_WR)
                assert read_all(client) == hashlib.sha256(b"").digest()
        leave(process)
    until(lambda: dial(port) is None, "the port is free")
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"
    assert logins(pooled) == 1


def test_remote_to_a_unix_socket_and_to_nobody(pooled, tmp_path):
    port, other, nobody = free_port(), free_port(), free_port()
    near = str(tmp_path / "near.sock")
    with Far(path=near, serve=digest), forwarding(pooled, "-R", f"{port}:{near}", "-R",
                                                  f"{other}:127.0.0.1:{nobody}"):
        assert_carries(port)
        with await_port(other) as client:
            assert client.recv(1) == b""
        assert_carries(port)


def test_remote_without_a_destination(pooled):
    """SOCKS from the server's side, as -D from this one."""
    port = free_port()
    with Far(serve=digest) as near, forwarding(pooled, "-R", str(port)) as process:
        client, answer = socks5(port, b"localhost", near.port, behind=b"sent at once, ")
        with client:
            assert answer[:2] == b"\5\0"
            client.sendall(b"and later")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == hashlib.sha256(b"sent at once, and later").digest()
        data = os.urandom(8 << 20)
        with await_port(port) as client:  # SOCKS 4a
            client.sendall(struct.pack(">BBH", 4, 1, near.port) + b"\0\0\0\1me\0" + b"127.0.0.1\0")
            assert client.recv(8, socket.MSG_WAITALL)[:2] == b"\0\x5a"
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == hashlib.sha256(data).digest()
        client, answer = socks5(port, b"127.0.0.1", free_port())
        with client:
            assert answer[:2] == b"\5\1"
            assert client.recv(1) == b""
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\5\1\2", b"\4\1" + b"x" * 1100):
            with await_port(port) as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                assert read_all(client) == (b"\5\xff" if said[0] == 5 else b""), said
        await_port(port).close()
        leave(process)
    until(lambda: dial(port) is None, "the port is free")
    pooled.await_leases(0)
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"
    assert logins(pooled) == 1


def test_a_remote_one_without_a_destination_that_stands(pooled):
    with Far(serve=digest) as near:
        port = int(pooled.good("ssh", "-O", "forward", "-R", "0", "t"))
        assert [lease["label"] for lease in pooled.await_leases(1)] == ["mux -R 0"]
        client, answer = socks5(port, b"127.0.0.1", near.port)
        with client:
            assert answer[:2] == b"\5\0"
            pooled.good("ssh", "-O", "cancel", "-R", str(port), "t")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == hashlib.sha256(b"").digest()
    until(lambda: dial(port) is None, "the port is free")
    pooled.await_leases(0)


def test_where_socks_may_lead_is_not_limited_in_silence(pooled):
    """No master is told of PermitRemoteOpen; where it is seen it must not be passed over."""
    for command in (["t", "echo must not be seen"], ["-O", "forward", "t"]):
        done = pooled.run("ssh", "-o", "PermitRemoteOpen=none", "-R", str(free_port()), *command)
        assert (done.returncode, done.stdout) == (255, b""), done
        assert b"target t: ssh does not pass PermitRemoteOpen on; leave it out: the target's permit_remote_open" in done.stderr
    with Far() as near:
        pooled.good("ssh", "-o", "PermitRemoteOpen=none", "-R", f"{free_port()}:127.0.0.1:{near.port}", "t", "true")
    pooled.good("ssh", "-o", "PermitRemoteOpen=any", "-R", str(free_port()), "t", "true")


@pytest.mark.parametrize("permit, allowed", [
    ("any", "yyyy"), ("localhost:{port}", "yynn"), (["127.0.0.1:{port}", "[::1]:{port}"], "nnyy"),
    ("*:1", "nnnn"), ("*:*", "yyyy"), ("1?7.*.1:{port}", "nnyn"), ("LOCALHOST:*", "yynn"),
], ids=str)
def test_where_socks_may_lead(make_tools, sshd, target, permit, allowed):
    """As it is spelled. On ::1 nobody listens: that it was not permitted is in the log only."""
    with Far(serve=digest) as near:
        def fill(text):
            return text.format(port=near.port)
        permit = fill(permit) if isinstance(permit, str) else [fill(p) for p in permit]
        tools = make_tools({"t": target(sshd, max_connections=1, permit_remote_open=permit)})
        port = free_port()
        with forwarding(tools, "-R", str(port)):
            for host, answer in zip((b"localhost", b"LocalHost", b"127.0.0.1", b"::1"), allowed):
                client, said = socks5(port, host, near.port)
                with client:
                    assert said[:2] == (b"\5\0" if answer == "y" and host != b"::1" else b"\5\1"), (host, said)
            until(lambda: refusals(tools) == allowed.count("n"), lambda: f"{refusals(tools)} refusals for {allowed}")


def refusals(tools):
    return sum(1 for _ in tools.daemon.log.matches(r"permit_remote_open does not let it"))


# --- those that stand ----------------------------------------------------------------------------------------------------

def test_a_forward_that_stands_until_it_is_cancelled(pooled):
    port = free_port()
    with Far(serve=digest) as far:
        forward = ("-L", f"{port}:127.0.0.1:{far.port}", "t")
        pooled.good("ssh", "-O", "forward", *forward)
        pooled.good("ssh", "-O", "forward", *forward)  # is there already
        assert_carries(port)
        lease, = pooled.await_leases(1)
        assert lease["label"] == f"mux -L {port}:127.0.0.1:{far.port}"
        with await_port(port) as client:
            pooled.good("ssh", "-O", "cancel", *forward)
            until(lambda: dial(port) is None, "the port is free")
            client.sendall(b"a connection outlives it")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == hashlib.sha256(b"a connection outlives it").digest()
    pooled.await_leases(0)
    done = pooled.run("ssh", "-O", "cancel", *forward)
    assert b"target t: there is no such forward" in done.stderr
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"
    assert logins(pooled) == 1


def test_a_remote_forward_with_a_port_of_the_servers_choice(pooled):
    with Far(serve=digest) as near:
        out = pooled.good("ssh", "-O", "forward", "-R", f"0:127.0.0.1:{near.port}", "t")
        port = int(out)
        assert_carries(port)
        pooled.good("ssh", "-O", "cancel", "-R", f"{port}:127.0.0.1:{near.port}", "t")
        until(lambda: dial(port) is None, "the port is free")
    pooled.await_leases(0)
    assert logins(pooled) == 1


def test_a_forward_that_stands_ends_with_its_lease(pooled, make_daemon):
    port = free_port()
    with Far() as far:
        pooled.good("ssh", "-O", "forward", "-L", f"{port}:127.0.0.1:{far.port}", "t")
        with await_port(port) as client, far.accept():
            lease, = pooled.await_leases(1)
            assert pooled.daemon.cli("end", lease["id"]).returncode == 0
            assert client.recv(1) == b""
    until(lambda: dial(port) is None, "the port is free")
    pooled.await_leases(0)
    pooled.good("ssh", "-O", "forward", "-D", str(port), "t")  # and one is there when the daemon ends


def test_a_lost_connection_takes_its_forwards_along(make_tools, make_sshd, target):
    server = make_sshd()
    tools = make_tools({"t": target(server, kill_grace="300ms", permit_remote_open="any")})
    ports = free_port(), free_port(), free_port()
    with Far(serve=echo) as far:
        to = f"127.0.0.1:{far.port}"
        tools.good("ssh", "-O", "forward", "-L", f"{ports[0]}:{to}", "t")
        with forwarding(tools, "-L", f"{ports[1]}:{to}", "-R", f"{ports[2]}:{to}") as process:
            clients = [await_port(port) for port in ports]
            for client in clients:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
            server.signal_sessions(signal.SIGKILL)
            for client in clients:
                with client, contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            assert process.wait(20) == 255
    for port in ports:
        until(lambda p=port: dial(p) is None, "the port is free")
    tools.await_leases(0)


def test_a_forward_that_stands_renews_its_lease(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, lease_timeout="600ms", max_lease="2s", kill_grace="300ms")})
    port = free_port()
    with Far(serve=echo) as far:
        tools.good("ssh", "-O", "forward", "-L", f"{port}:127.0.0.1:{far.port}", "t")
        with await_port(port) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            assert client.recv(1) == b""  # max_lease has passed
    tools.daemon.log.find(r"granted -> ended reason=expired")
    until(lambda: dial(port) is None, "the port is free")


# --- refusals ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("args, reason", [
    (["-L", "{taken}:127.0.0.1:1"], "Address already in use"),
    (["-L", "./near.sock:127.0.0.1:1"], "has to begin with /"),
    (["-L", "/nonexistent/near.sock:127.0.0.1:1"], "No such file or directory"),
    (["-L", "*:{free}:127.0.0.1:1"], "loopback addresses only"),
    (["-L", "192.0.2.1:{free}:127.0.0.1:1"], "loopback addresses only"),
    (["-L", "[2001:db8::1]:{free}:127.0.0.1:1"], "loopback addresses only"),
    (["-L", "127.0.0.300:{free}:127.0.0.1:1"], "loopback addresses only"),
    (["-R", "127.0.0.1:{taken}:127.0.0.1:1"], "the server does not listen"),
    (["-R", "/tmp/there.sock:127.0.0.1:1"], "cannot have the server listen on a Unix socket"),
])
def test_refused_loudly(pooled, args, reason):
    with Far() as taken:
        args = [a.format(taken=taken.port, free=free_port()) for a in args]
        for command in (["t", "echo must not be seen"], ["t", "echo", "-O", "forward"], ["-O", "forward", "t"]):
            done = pooled.run("ssh", *args, *command)
            assert (done.returncode, done.stdout) == (255, b""), done.stderr
            assert b"target t: " in done.stderr and reason.encode() in done.stderr, done.stderr
            assert b"no daemon" not in done.stderr  # no way round us was tried
        # A command line so long that it is not judged.
        done = pooled.run("ssh", *args, "t", "echo must not be seen", "x" * 20000)
        assert (done.returncode, done.stdout) == (255, b""), done.stderr
        assert b"unexpected response from master" in done.stderr and b"no daemon" not in done.stderr
    pooled.daemon.log.find(reason)
    assert pooled.good("ssh", "t", "echo fine") == b"fine\n"


def test_refused_with_the_target_down(make_tools, sshd, target):
    gone = target(sshd)
    gone["port"] = free_port()
    tools = make_tools({"t": gone})
    for args in (["-O", "forward"], []):
        done = tools.run("ssh", *args, "-L", f"{free_port()}:127.0.0.1:1", "t")
        assert done.returncode == 255
        assert done.stderr.count(b"target t: ") == 1 and b"connection refused" in done.stderr, done.stderr


@pytest.mark.root
def test_nothing_is_done_for_a_user_that_he_could_not_do_himself(make_tools, sshd, target, account, tmp_path):
    """The daemon runs as root here: a Unix socket of its making or opening would be root's."""
    tools = make_tools({"t": target(sshd, allow={"users": [account.pw_name]})})
    pathlib.Path(tools.dir).chmod(0o755)
    shadow = str(tmp_path / "roots.sock")

    def as_account(*args):
        return subprocess.run(as_user(tools.words("ssh", *args, "t"), account), env=tools.env(), capture_output=True,
                              check=False, timeout=30)
    with Far(path=shadow):
        for args in (["-L", f"/tmp/sshlease-deputy-{os.getpid()}.sock:127.0.0.1:1"], ["-R", f"{free_port()}:{shadow}"]):
            done = as_account("-O", "forward", *args)
            assert done.returncode == 255, done.stderr
            assert b"as another user than you" in done.stderr
    port = free_port()
    with Far(serve=digest) as far:
        forward = ("-L", f"{port}:127.0.0.1:{far.port}")
        assert as_account("-O", "forward", *forward).returncode == 0
        assert_carries(port)
        assert b"there is no such forward" in tools.run("ssh", "-O", "cancel", *forward, "t").stderr  # it is not root's
        assert as_account("-O", "cancel", *forward).returncode == 0
    until(lambda: dial(port) is None, "the port is free")
