# SPDX-License-Identifier: MIT
"""sshlease.paramiko: programs written for paramiko."""

import gc
import io
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import pytest

import sshlease
from sshlease import paramiko
from waiting import until


@pytest.fixture
def client(daemon):
    with paramiko.SSHClient() as one:
        one.load_system_host_keys()
        one.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        one.connect("t", socket=daemon.path)
        yield one


def test_as_it_is_written_for_paramiko(daemon, account, monkeypatch):
    monkeypatch.setenv("SSHLEASE_SOCKET", daemon.path)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(hostname="t", username=account.pw_name, password="secret", key_filename="/nowhere", timeout=30,
                   banner_timeout=5, look_for_keys=False)
    try:
        stdin, stdout, stderr = client.exec_command("cat; echo err >&2; exit 3", timeout=30)
        stdin.write("line 1\n")
        stdin.write(b"line 2\n")
        stdin.flush()
        stdin.channel.shutdown_write()
        assert stdout.readline() == "line 1\n"  # text by lines, bytes by read(), as paramiko has it
        assert stdout.read() == b"line 2\n"
        assert stderr.read().decode() == "err\n"
        assert stdout.channel.recv_exit_status() == 3 and stdout.channel.exit_status_ready()
        assert list(client.exec_command("printf 'a\\nb'")[1]) == ["a\n", "b"]
        assert client.exec_command("printf 'a\\nb'")[1].readlines() == ["a\n", "b"]
    finally:
        client.close()
    client.close()
    daemon.await_connections(idle=1, leased=0)
    with pytest.raises(paramiko.SSHException):
        client.exec_command("true")


def test_names():
    names = sshlease.paramiko._names
    assert names("web1", 22, None) == ["web1"]
    assert names("web1", 22, "ci") == ["ci@web1"]
    assert names("web1", 2222, None) == ["web1:2222", "web1"]
    assert names("web1", 2222, "ci") == ["ci@web1:2222", "ci@web1"]
    assert names("::1", 2222, "ci") == ["ci@[::1]:2222", "ci@[::1]"]


@pytest.mark.parametrize("port", [22, 2222])
def test_the_user_is_the_targets(daemon, account, port):
    """Nobody's commands run as another user than he asked for."""
    with paramiko.SSHClient() as client:
        with pytest.raises(paramiko.SSHException) as raised:
            client.connect("t", port=port, username="nobody", socket=daemon.path)
        assert str(raised.value) == f'no such target: "nobody@t" (t logs in as {account.pw_name})'
        client.connect("t", port=port, username=account.pw_name, socket=daemon.path)
        assert client.exec_command("id -un")[1].read().decode().strip() == account.pw_name


def test_one_output_after_the_other(client):
    """As much of the other may wait as with paramiko."""
    _, stdout, stderr = client.exec_command("head -c 1000000 /dev/zero >&2; echo done")
    assert stdout.read() == b"done\n" and len(stderr.read()) == 1000000
    _, stdout, _ = client.exec_command("head -c 1000000 /dev/zero")
    assert stdout.channel.recv_exit_status() == 0 and len(stdout.read()) == 1000000


def test_channel(client):
    channel = client.get_transport().open_session()
    assert client.get_transport().is_active() and channel.set_combine_stderr(True) is False
    channel.set_environment_variable("LC_TEST", "x")
    channel.exec_command("echo out; echo err >&2; read line; echo $line $LC_TEST; exit 5")
    channel.sendall(b"in\n")
    assert channel.recv_exit_status() == 5 and channel.exit_status == 5
    assert channel.recv_ready() and not channel.recv_stderr_ready()
    got = b""
    while part := channel.recv(4):
        got += part
    assert sorted(got.split(b"\n")) == [b"", b"err", b"in x", b"out"]
    with pytest.raises(paramiko.SSHException):
        channel.exec_command("true")
    channel.close()
    assert channel.closed and channel.recv(1) == b""
    with pytest.raises(OSError):
        channel.send(b"x")


def test_timeouts(client, sshd):
    stdin, stdout, _ = client.exec_command("echo begun; exec sleep 4000", timeout=0.2)
    assert stdout.readline() == "begun\n"
    with pytest.raises(socket.timeout):
        stdout.read()
    assert not stdout.channel.exit_status_ready()
    stdin.channel.close()
    sshd.await_nothing_remote()


def test_killed_by_a_signal(client):
    _, stdout, _ = client.exec_command("kill -KILL $$")
    assert stdout.channel.recv_exit_status() == -1


def test_dropped_files_end_the_command(client, sshd):
    files = client.exec_command("echo begun; exec sleep 4000")
    assert files[1].readline() == "begun\n"
    del files
    gc.collect()
    sshd.await_nothing_remote()


@pytest.mark.pty
def test_shell(client):
    channel = client.invoke_shell(width=90, height=20)
    channel.settimeout(20)
    channel.send("stty -echo; PS1=; echo size $(stty size)\n")
    said = b""
    while not re.search(rb"size 20 90", said):
        said += channel.recv(1000)
    channel.resize_pty(91, 21)
    channel.send("until [ \"$(stty size)\" = '21 91' ]; do :; done; exit 9\n")
    assert channel.recv_exit_status() == 9


def test_errors(make_daemon, make_sshd, target, keys):
    server = make_sshd()
    daemon = make_daemon({"targets": {
        "changed": target(server, known=server.known_hosts_line(key=keys.other_host)),
        "denied": target(server, identity_file=keys.stranger), "dead": {**target(server), "port": 1}}})
    for name, theirs, ours in (("changed", paramiko.BadHostKeyException, sshlease.HostKeyError),
                               ("denied", paramiko.AuthenticationException, sshlease.AuthenticationError),
                               ("dead", paramiko.SSHException, sshlease.Unreachable),
                               ("nowhere", paramiko.SSHException, sshlease.Refused)):
        with pytest.raises(theirs, match=name) as caught, paramiko.SSHClient() as client:
            client.connect(name, socket=daemon.path)
        assert isinstance(caught.value, ours) and caught.value.target == name
    with pytest.raises(ValueError, match="sock"):
        paramiko.SSHClient().connect("dead", sock=object())


def test_errors_in_mid_command(client, daemon):
    _, stdout, _ = client.exec_command("echo begun; exec sleep 4000")
    stdout.readline()
    (lease,) = daemon.status()["leases"]
    with daemon.client() as admin:
        admin.end(lease["id"])
    with pytest.raises(paramiko.SSHException) as caught:
        stdout.read()
    assert isinstance(caught.value, sshlease.Revoked)
    assert stdout.channel.recv_exit_status() == -1


def test_without_paramiko(python_env):
    """Whether it is installed or not: as if it were not."""
    subprocess.run([sys.executable, "-c", """if True:
        import sys
        sys.modules["paramiko"] = None
        from sshlease import paramiko
        for what, error, says in ((lambda: paramiko.SSHClient().open_sftp(), ImportError, "python3-paramiko"),
                                  (lambda: paramiko.RSAKey, AttributeError, "not installed")):
            try:
                what()
            except error as e:
                assert says in str(e), e
            else:
                raise AssertionError(says)
    """], env=python_env, check=True, timeout=60)


@pytest.mark.paramiko
def test_sftp(client, daemon, tmp_path, account):
    import paramiko as real
    data = os.urandom(3_000_000)
    with client.open_sftp() as sftp:
        assert isinstance(sftp, real.SFTPClient)
        home = sftp.normalize(".")
        path = f"{home}/sshlease-test.{os.getpid()}"
        sftp.putfo(io.BytesIO(data), path)
        assert sftp.stat(path).st_size == len(data)
        back = io.BytesIO()
        sftp.getfo(path, back)  # prefetches, from a thread of paramiko's
        assert back.getvalue() == data
        assert os.path.basename(path) in sftp.listdir(home)
        assert client.exec_command(f"wc -c <{path}")[1].read().split() == [b"3000000"]  # beside it
        sftp.remove(path)
        with pytest.raises(FileNotFoundError):
            sftp.stat(path)
    client.close()
    daemon.await_connections(idle=1, leased=0)  # given back clean


@pytest.mark.paramiko
def test_the_names_are_paramikos():
    import paramiko as real
    assert paramiko.SSHException is real.SSHException and paramiko.RSAKey is real.RSAKey
    assert issubclass(paramiko._translated(sshlease._errors.error_for(58)).__class__, real.AuthenticationException)
    with pytest.raises(AttributeError):
        paramiko.no_such_name  # noqa: B018


def test_never_closed(daemon):
    client = paramiko.SSHClient()
    client.connect("t", socket=daemon.path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del client
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    until(lambda: not daemon.status()["leases"], "the end of the lease")


# A child that has its output open when the command is over. It says its pid; SIGUSR1 ends it.
CHILD = """sh -c 'trap "kill \\$!; echo late; exit" USR1; sleep 4000 & echo $$ waits; wait' & """


def test_the_exit_status_when_it_comes(client):
    """Not when the output ends, which the child has open."""
    _, stdout, _ = client.exec_command(CHILD + "exit 3")
    child = int(stdout.readline().split()[0])
    assert stdout.channel.recv_exit_status() == 3
    assert stdout.channel.exit_status_ready() and stdout.channel.exit_status == 3
    assert stdout.channel.status_event.is_set() and stdout.channel.status_event.wait(1)
    assert not stdout.channel.eof_received
    os.kill(child, signal.SIGUSR1)
    assert stdout.read() == b"late\n" and stdout.channel.recv_exit_status() == 3


def test_a_child_left_behind_holds_nobody_up(client, daemon, sshd):
    """Neither the status, nor closing; the child is ended with the lease, as all is that it leaves."""
    begun = time.monotonic()
    _, stdout, _ = client.exec_command("sleep 4000 & exit 0")
    assert stdout.channel.recv_exit_status() == 0
    client.close()
    assert time.monotonic() - begun < 10
    sshd.await_nothing_remote()


def test_clean_after_the_status(client, daemon):
    """Who goes once he has the status has left nothing behind."""
    for _ in range(20):
        _, stdout, _ = client.exec_command("echo x; exit 1")
        assert stdout.channel.recv_exit_status() == 1
        stdout.channel.close()
    client.close()
    daemon.await_connections(idle=1, leased=0)


@pytest.mark.paramiko
def test_no_exit_status(client, silent):
    client.connect("t", socket=silent)
    _, stdout, stderr = client.exec_command("show version")
    assert stdout.read() == b"out of show version\n" and stderr.read() == b"err\n"
    assert stdout.channel.recv_exit_status() == -1 and stdout.channel.exit_status_ready()
    assert client.exec_command("two")[1].readlines() == ["out of two\n"]


def test_transport_by_itself(daemon, account, monkeypatch):
    monkeypatch.setenv("SSHLEASE_SOCKET", daemon.path)
    with paramiko.Transport(("t", 22)) as transport:
        assert not transport.is_active() and transport.getpeername() == ("t", 22)
        with pytest.raises(paramiko.SSHException, match="connect"):
            transport.open_session()
        transport.connect(username=account.pw_name, password="secret")
        assert transport.is_active() and transport.is_authenticated() and transport.get_username() == account.pw_name
        channel = transport.open_session()
        channel.exec_command("echo hello")
        assert channel.makefile("rb").read() == b"hello\n" and channel.getpeername() == ("t", 22)
    assert not transport.is_active()
    with paramiko.Transport("t:22") as transport:
        transport.start_client()
        assert transport.auth_password(account.pw_name, "secret") == [] and transport.is_active()
        with pytest.raises(paramiko.SSHException, match="already"):
            transport.connect()
    with pytest.raises(paramiko.SSHException, match="nobody@t"):
        paramiko.Transport(("t", 22)).connect(None, "nobody", "secret")
    with socket.socket() as sock, pytest.raises(ValueError, match="daemon connects"):
        paramiko.Transport(sock)
    with pytest.raises(ValueError, match="known_hosts"):
        paramiko.Transport(("t", 22)).connect(hostkey=object())


@pytest.mark.paramiko
def test_sftp_from_a_transport(daemon, account, monkeypatch):
    monkeypatch.setenv("SSHLEASE_SOCKET", daemon.path)
    transport = paramiko.Transport(("t", 22))
    transport.connect(username=account.pw_name, password="secret")
    sftp = paramiko.SFTPClient.from_transport(transport)
    assert sftp.normalize(".").startswith("/") and sftp.get_channel().get_transport() is transport
    sftp.close()
    transport.close()
    daemon.await_connections(idle=1, leased=0)


@pytest.mark.paramiko
def test_scp(client, daemon, tmp_path, account):
    scp = pytest.importorskip("scp")
    here, path = tmp_path / "here", f"/tmp/sshlease-scp.{os.getpid()}"
    here.write_bytes(os.urandom(300000))
    told = []
    try:
        with scp.SCPClient(client.get_transport(), progress4=lambda *a: told.append(a[3])) as one:
            one.put(str(here), path)
            one.get(path, str(tmp_path / "back"))
    finally:
        client.exec_command(f"rm -f {path}")[1].channel.recv_exit_status()
    assert (tmp_path / "back").read_bytes() == here.read_bytes() and set(told) == {("t", 22)}


@pytest.mark.paramiko
def test_fabric(daemon, monkeypatch):
    """Its connection, over a client of ours."""
    fabric = pytest.importorskip("fabric")
    monkeypatch.setenv("SSHLEASE_SOCKET", daemon.path)
    connection = fabric.Connection("t")
    connection.client = paramiko.SSHClient()
    connection.client.connect("t")
    connection.transport = connection.client.get_transport()
    try:
        done = connection.run("echo hello; echo err >&2; exit 3", hide=True, warn=True, in_stream=False)
        assert (done.stdout, done.stderr, done.exited) == ("hello\n", "err\n", 3)
    finally:
        connection.client.close()


def test_is_active(client, daemon):
    transport = client.get_transport()
    assert transport is client.get_transport() and transport.is_active() and transport.active
    (lease,) = daemon.status()["leases"]
    with daemon.client() as admin:
        admin.end(lease["id"])
    until(lambda: not transport.is_active(), "the transport to see that its lease was ended")


def test_is_active_after_the_connection_was_lost(client, sshd):
    stdin, stdout, _ = client.exec_command("echo begun; exec cat")
    stdout.readline()
    sshd.signal_sessions(signal.SIGKILL)
    until(lambda: not client.get_transport().is_active(), "the transport to see that its connection was lost")
    with pytest.raises((OSError, sshlease.ConnectionLost)):
        stdin.write("it ran until then, for its input was open")


def _readable(channel, seconds):
    return select.select([channel], [], [], seconds)[0] == [channel]


def test_select(client):
    channel = client.get_transport().open_session()
    channel.exec_command("while read line; do echo $line; done; echo over >&2")
    assert not _readable(channel, 0.2) and channel.fileno() == channel.fileno()
    for line in (b"one\n", b"two\n"):
        channel.send(line)
        assert _readable(channel, 20) and channel.recv_ready()
        assert channel.recv(2) + channel.recv(2) == line
        assert not _readable(channel, 0) and not channel.recv_ready()
    # What comes for another channel is nothing to read here.
    assert client.exec_command("echo other")[1].read() == b"other\n" and not _readable(channel, 0)
    channel.shutdown_write()
    assert _readable(channel, 20)
    assert channel.recv_stderr(100) == b"over\n"
    assert _readable(channel, 20) and channel.recv(1) == b"" and _readable(channel, 0)  # for ever: the end
    assert channel.recv_exit_status() == 0


def test_select_leaves_nothing(client, sshd):
    before, fds = threading.active_count(), len(os.listdir("/proc/self/fd"))
    channel = client.invoke_shell()
    channel.fileno()
    files = client.exec_command("exec sleep 4000")
    files[1].channel.fileno()
    channel.close()
    del channel, files
    gc.collect()
    until(lambda: threading.active_count() == before, "the threads to end")
    assert len(os.listdir("/proc/self/fd")) == fds
    sshd.await_nothing_remote()


def test_what_is_not_here_is_named(client):
    transport = client.get_transport()
    for ask, text in ((lambda: transport.request_port_forward, "Transport.request_port_forward: a lease has no forwards"),
                      (lambda: transport.open_forward_agent_channel, "Transport.open_forward_agent_channel: the daemon"),
                      (lambda: transport.open_session().request_x11, "Channel.request_x11: a lease has no X11"),
                      (lambda: client.no_such_thing, "SSHClient.no_such_thing: see")):
        with pytest.raises(AttributeError, match=re.escape(f"sshlease.paramiko has no {text}")) as caught:
            ask()
        assert isinstance(caught.value, paramiko.NotHere)
    assert not hasattr(transport, "start_server")
    with pytest.raises(paramiko.SSHException, match="direct-tcpip"):
        transport.open_channel("direct-tcpip", ("localhost", 1), ("localhost", 2))
    transport.set_keepalive(30)
