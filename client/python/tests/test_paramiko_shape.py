# SPDX-License-Identifier: MIT
"""sshlease.paramiko beside paramiko itself: every public name is there or says why not, and what programs lean on behaves
the same."""

import asyncio
import contextlib
import inspect
import os
import re
import select
import selectors
import socket
import time

import pytest

import sshlease
from sshlease import paramiko
from waiting import until


@pytest.fixture
def client(daemon):
    with paramiko.SSHClient() as one:
        one.connect("t", socket=daemon.path)
        yield one


@pytest.fixture
def channel(client):
    return client.get_transport().open_session()


# --- every name ---

KINDS = ["SSHClient", "Transport", "Channel", "ChannelFile", "ChannelStdinFile", "ChannelStderrFile"]


@contextlib.contextmanager
def _theirs(kind):
    """One of paramiko's own, for the names that only its objects have."""
    import paramiko as real
    ours, other = socket.socketpair()
    with ours, other:
        channel = real.Channel(1)
        if kind.endswith("File"):
            one = getattr(real, kind)(channel)
            yield one
            channel.eof_sent = True  # or its __del__() would want to send that
        else:
            yield {"SSHClient": real.SSHClient, "Transport": lambda: real.Transport(ours), "Channel": lambda: channel}[kind]()


@pytest.mark.paramiko
@pytest.mark.parametrize("kind", KINDS)
def test_every_public_name_is_there_or_says_why_not(client, kind):
    files = client.exec_command("exec cat")
    ours = {"SSHClient": client, "Transport": client.get_transport(), "Channel": files[0].channel,
            "ChannelFile": files[0].channel.makefile(), "ChannelStdinFile": files[0], "ChannelStderrFile": files[2]}[kind]
    assert type(ours) is getattr(paramiko, kind)
    silent, differ = [], []
    with _theirs(kind) as theirs:
        for name in (name for name in dir(theirs) if not name.startswith("_")):
            try:
                mine = getattr(ours, name)
            except paramiko.NotHere as e:
                if not re.fullmatch(rf"sshlease\.paramiko has no \w+\.{name}: (?!see ).+", str(e)):
                    silent.append(name)
                continue
            if inspect.ismethod(getattr(theirs, name)):
                want, have = (inspect.signature(one).parameters for one in (getattr(theirs, name), mine))
                if not any(one.kind is one.VAR_KEYWORD for one in have.values()):
                    differ += [(name, word) for word in want if word not in have and word != "params"]
    files[0].channel.close()
    assert (silent, differ) == ([], [])


@pytest.mark.paramiko
def test_no_way_past_the_daemon():
    """paramiko.client.SSHClient and its like would be paramiko's own, which connects by itself."""
    from sshlease.paramiko.client import SSHClient
    assert SSHClient is paramiko.SSHClient is paramiko.client.SSHClient
    assert paramiko.transport.Transport is paramiko.Transport and paramiko.channel.Channel is paramiko.Channel
    import paramiko as real
    assert paramiko.client.SSH_PORT == real.client.SSH_PORT and paramiko.util is real.util


def test_what_a_transport_has_of_a_thread(client):
    transport = client.get_transport()
    transport.setDaemon(True)
    transport.setName("mine")
    transport.banner_timeout = 200
    transport.set_gss_host("t")
    transport.atfork()
    transport.join(1)
    assert (transport.daemon, transport.name, transport.banner_timeout) == (True, "mine", 200)
    assert transport.is_active() and transport.logger.name == "paramiko.transport"
    transport.stop_thread()
    assert not transport.is_active()


# --- loops that watch a channel ---

ENDS = {
    "closed": lambda channel: channel.closed,
    "not active": lambda channel: not channel.active,
    "eof_received": lambda channel: channel.eof_received,
    "exit_status_ready": lambda channel: channel.exit_status_ready(),
    "status_event": lambda channel: channel.status_event.is_set(),
}


@pytest.mark.parametrize("over", ENDS.values(), ids=ENDS.keys())
def test_a_loop_that_watches_for_the_end(client, over):
    """What ends by itself is seen to, though nothing is received; and then all of it can be."""
    channel = client.get_transport().open_session()
    channel.exec_command("echo out; exec sleep 0.1")
    assert not over(channel)
    until(lambda: over(channel), "the end", timeout=10)
    assert channel.recv(100) == b"out\n" and channel.recv(100) == b""
    assert channel.recv_exit_status() == 0
    assert not channel.eof_sent
    channel.shutdown_write()


def test_a_loop_as_pexpect_has_it(client):
    """recv_ready() and a pause, until the text is there or the channel is closed."""
    channel = client.get_transport().open_session()
    channel.invoke_shell()
    said = b""

    def expect(text):
        nonlocal said
        deadline = time.monotonic() + 10
        while text not in said and time.monotonic() < deadline:
            if channel.recv_ready():
                said += channel.recv(65535)
            elif channel.closed:
                break
            else:
                time.sleep(0.01)
        assert text in said, said
        said = said.partition(text)[2]
    for number in range(20):
        channel.send(f"echo 'answer' {number}\n")
        expect(b"answer %d\n" % number)
    channel.send("exit 4\n")
    while not channel.closed:
        time.sleep(0.01)
    assert channel.recv_exit_status() == 4 and not channel.send_ready()
    with pytest.raises(OSError):
        channel.send("more")


def test_selectors_and_an_event_loop(client, channel):
    channel.exec_command("read line; echo got $line; read line; echo $line")
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        assert selector.select(0.1) == []
        channel.send("one\n")
        assert [key.fileobj for key, _ in selector.select(10)] == [channel]
        assert channel.recv(100) == b"got one\n" and selector.select(0) == []

    async def main():
        loop, got = asyncio.get_running_loop(), asyncio.Queue()
        loop.add_reader(channel, lambda: got.put_nowait(channel.recv(100)))
        channel.send("two\n")
        assert await asyncio.wait_for(got.get(), 10) == b"two\n"
        assert await asyncio.wait_for(got.get(), 10) == b""
        loop.remove_reader(channel)
    asyncio.run(main())


def test_not_blocking(channel):
    """As an interactive shell has it: select() over the channel and the terminal, and a time of 0.0."""
    channel.exec_command("cat")
    for unblock in (lambda: channel.setblocking(0), lambda: channel.settimeout(0.0)):
        channel.settimeout(None)
        unblock()
        with pytest.raises(socket.timeout):
            channel.recv(100)
        channel.send("x")
        assert select.select([channel], [], [], 10)[0] == [channel] and channel.recv(100) == b"x"
    channel.shutdown(2)
    channel.settimeout(10)  # the status may come before the end of the output
    assert channel.recv_exit_status() == 0 and channel.recv(1) == b""


# --- input ---

def test_input_ends_with_its_file(client):
    """`exec_command(…)[1].read()`, of a command that reads its input to the end."""
    assert client.exec_command("cat; echo end", timeout=10)[1].read() == b"end\n"
    stdin, stdout, _ = client.exec_command("cat", timeout=10)
    stdin.write("x")
    del stdin
    assert stdout.read() == b"x" and stdout.channel.eof_sent


def test_sending_in_part(client, channel):
    channel.exec_command("echo begun; exec sleep 4000")
    assert channel.recv(100) == b"begun\n"
    channel.settimeout(0.2)
    data = bytes(20_000_000)
    sent = channel.send(data)
    assert 0 < sent < len(data)
    with pytest.raises(socket.timeout):
        for _ in range(50):
            channel.send(data)  # until there is no room at all
    with pytest.raises(socket.timeout):
        channel.sendall(data)
    channel.close()


# --- output ---

def test_what_had_come_is_not_lost(client, daemon):
    stdin, stdout, stderr = client.exec_command("printf 'one\ntwo'; printf err >&2; exec sleep 4000", timeout=0.2)
    for _ in range(2):
        with pytest.raises(socket.timeout):
            stdout.read()
    assert stdout.readline() == "one\n" and stdout.tell() == 4
    with pytest.raises(socket.timeout):
        stdout.readline()
    with pytest.raises(socket.timeout):
        stderr.read(10)
    (lease,) = daemon.status()["leases"]
    with daemon.client() as admin:
        admin.end(lease["id"])
    until(lambda: stdout.channel.closed, "the end of the lease")
    with pytest.raises(sshlease.Revoked) as caught:
        stdout.read()
    assert (caught.value.stdout, caught.value.stderr) == (b"two", None)
    with pytest.raises(sshlease.Revoked) as caught:
        stderr.read()
    assert (caught.value.stdout, caught.value.stderr) == (None, b"err")
    assert stdout.read(3) == b"two"


def test_files(client):
    _, stdout, stderr = client.exec_command("printf 'a\\nbc\\n\\nd'; exit 3")
    assert stdout.readlines(1) == ["a\n"] and stdout.readline(1) == "b" and stdout.readline(10) == "c\n"
    assert next(stdout.xreadlines()) == "\n" and stdout.read(0) == b""
    buffer = bytearray(8)
    assert stdout.readinto(buffer) == 1 and buffer[:1] == b"d" and stdout.read() == b"" and stdout.readline() == ""
    with pytest.raises(OSError, match="seek"):
        stdout.seek(0)
    stdout.close()
    with pytest.raises(OSError, match="closed"):
        stdout.read()
    assert not stderr.closed and stdout.closed


def test_a_channel_that_is_closed_starts_nothing(client, channel, sshd):
    channel.close()
    for start in (lambda: channel.exec_command("exec sleep 4000"), channel.invoke_shell, channel.get_pty,
                  channel.resize_pty, lambda: channel.update_environment({"A": "b"})):
        with pytest.raises(paramiko.SSHException, match="Channel is not open"):
            start()
    assert not sshd.remote()


# --- forked children ---

def test_a_forked_child(client, daemon):
    """Its calls raise; what it has of a channel is not shared with the parent, its fileno() neither."""
    channel = client.get_transport().open_session()
    channel.exec_command("echo begun; cat")
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        assert selector.select(10)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert channel.recv(100) == b"begun\n"  # its copy of what had come
                for call in (lambda: client.exec_command("true"), lambda: channel.recv(1), lambda: channel.send("x")):
                    with pytest.raises(paramiko.SSHException, match="process that forked"):
                        call()
                assert not client.get_transport().is_active() and channel.closed
                del channel, selector
                client.close()
                with paramiko.SSHClient() as own:
                    own.connect("t", socket=daemon.path)
                    assert own.exec_command("echo own")[1].read() == b"own\n"
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert selector.select(0) and channel.recv(100) == b"begun\n"
        assert not selector.select(0)  # nothing to read: what the child did to its pipe is no business of ours
        channel.send("more")
        assert selector.select(10) and channel.recv(100) == b"more" and not selector.select(0)
    channel.close()


# --- programs ---

@pytest.mark.paramiko
@pytest.mark.pty
def test_fabric_as_it_is(daemon, account, monkeypatch, tmp_path):
    """Its connections make a client of ours: commands, a terminal, files, groups."""
    fabric = pytest.importorskip("fabric")
    monkeypatch.setattr("fabric.connection.SSHClient", paramiko.SSHClient)
    monkeypatch.setenv("SSHLEASE_SOCKET", daemon.path)
    quiet = {"hide": True, "in_stream": False}
    path = f"/tmp/sshlease-fabric.{os.getpid()}"
    (tmp_path / "here").write_bytes(b"content")
    with fabric.Connection("t", user=account.pw_name) as connection:
        assert not connection.is_connected
        assert connection.run("echo $((6 * 7))", **quiet).stdout == "42\n" and connection.is_connected
        assert connection.run("test -t 1; echo $?", pty=True, **quiet).stdout.strip() == "0"
        assert connection.run("exit 3", warn=True, **quiet).exited == 3
        connection.put(str(tmp_path / "here"), path)
        connection.get(path, str(tmp_path / "back"))
        connection.run(f"rm {path}", **quiet)
    assert (tmp_path / "back").read_bytes() == b"content" and not connection.is_connected
    group = fabric.ThreadingGroup("t", "t", user=account.pw_name)
    assert [one.stdout for one in group.run("echo all", **quiet).values()] == ["all\n"]
    group.close()
    daemon.await_connections(leased=0)



@pytest.mark.paramiko
@pytest.mark.testinfra
def test_testinfras_own_paramiko_backend(daemon, account, monkeypatch):
    """paramiko://, with paramiko changed for ours: all it does is what ours does, too."""
    import testinfra
    import testinfra.backend.paramiko as backend
    monkeypatch.setattr(backend, "paramiko", paramiko)
    monkeypatch.setenv("SSHLEASE_SOCKET", daemon.path)
    monkeypatch.setenv("HOME", account.pw_dir)  # no ~/.ssh/config of whoever runs the tests
    host = testinfra.get_host(f"paramiko://{account.pw_name}@t")
    said = host.run("echo out; echo err >&2; exit 3")
    assert (said.rc, said.stdout, said.stderr) == (3, "out\n", "err\n")
    assert host.run("head -c 300000 /dev/zero").stdout_bytes == bytes(300000)
    assert host.file("/etc/passwd").exists and host.user().name == account.pw_name
    host.backend.client.close()
    daemon.await_connections(leased=0)


@pytest.mark.paramiko
@pytest.mark.pty
def test_netmiko(daemon, account, monkeypatch):
    """Its loops over a shell: prompts, sizes, recv_ready()."""
    netmiko = pytest.importorskip("netmiko")
    monkeypatch.setattr(netmiko.base_connection, "paramiko", paramiko)
    monkeypatch.setenv("SSHLEASE_SOCKET", daemon.path)
    device = netmiko.ConnectHandler(device_type="linux", host="t", username=account.pw_name, password="ignored",
                                    fast_cli=True, global_delay_factor=0.1, keepalive=30)
    try:
        assert device.is_alive()
        assert device.send_command("echo $((6 * 7))").strip() == "42"
        assert "two" in device.send_command_timing("echo one; echo two")
    finally:
        device.disconnect()
    daemon.await_connections(leased=0)
