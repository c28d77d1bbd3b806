# SPDX-License-Identifier: MIT
"""What ssh finds at the mux sockets: sessions as leases, by the real ssh. At terminals: test_mux_terminals.py; scp, rsync,
git and the like: test_mux_tools.py."""

import contextlib
import os
import re
import signal
import socket
import stat
import struct
import subprocess

import pytest

import native
import procs
import ssh_tools
from ssh_tools import on_terminal, other_user
from waiting import until

FAST = {"kill_grace": "300ms"}
HELLO = struct.pack(">III", 8, 1, 4)


def logins(server):
    return sum(1 for _ in server.log.matches(r"Accepted publickey"))


@contextlib.contextmanager
def started(tools, *args, **options):
    process = tools.start("ssh", *args, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait()


# --- what a session carries ---------------------------------------------------------------------------------------------

def test_exit_codes(tools):
    for code in (0, 1, 42, 254, 255):
        done = tools.run("ssh", "t", f"exit {code}")
        assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_a_connection_goes_back_to_its_pool_before_ssh_ends(make_tools, make_sshd, target):
    server = make_sshd()
    tools = make_tools({"t": target(server, max_connections=2)})
    for _ in range(5):
        tools.good("ssh", "t", "true")
    assert logins(server) == 1


def test_killed_by_a_signal(tools):
    done = tools.run("ssh", "t", "kill -TERM $$")
    assert (done.returncode, done.stdout, done.stderr) == (255, b"", b"")


def test_stdout_and_stderr_apart_and_binary_both_ways(tools):
    data = os.urandom(1 << 20)
    done = tools.run("ssh", "t", "tee /dev/stderr | tr '\\000-\\377' '\\001-\\377\\000'", data=data)
    assert done.returncode == 0
    assert done.stderr == data
    assert done.stdout == bytes((b + 1) & 255 for b in data)


def test_stdin_of_every_kind(tools, tmp_path):
    file = tmp_path / "input"
    file.write_bytes(b"from a file")
    with open(file, "rb") as f:
        assert subprocess.run(tools.words("ssh", "t", "cat"), stdin=f, capture_output=True, env=tools.env(),
                              check=True).stdout == b"from a file"
    assert tools.good("ssh", "t", "cat", data=b"from a pipe") == b"from a pipe"
    assert subprocess.run(tools.words("ssh", "t", "cat; echo end"), stdin=subprocess.DEVNULL, capture_output=True,
                          env=tools.env(), check=True).stdout == b"end\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(tools.words("ssh", "t", "cat; echo end"), stdin=theirs, stdout=theirs,
                                   env=tools.env())
        theirs.close()
        ours.sendall(b"over one socket\n")
        ours.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: ours.recv(100), b"")) == b"over one socket\nend\n"
        assert process.wait(20) == 0


def test_no_stdin(tools):
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stdin, os.fdopen(write, "wb") as ours:
        done = subprocess.run(tools.words("ssh", "-n", "t", "cat; echo end"), stdin=stdin, capture_output=True,
                              env=tools.env(), check=True, timeout=20)
        assert done.stdout == b"end\n"
        ours.write(b"still here")
        ours.flush()
        assert os.read(stdin.fileno(), 100) == b"still here"


def test_in_the_background(tools, remote_dir):
    # Over a ControlMaster, too, `ssh -f` stays: the client has gone to the master before it would go to the background.
    tools.good("ssh", "-f", "t", f"echo done >{remote_dir}/f")
    with open(f"{remote_dir}/f", encoding="ascii") as f:
        assert f.read() == "done\n"


def test_a_shell_without_a_command(tools):
    assert tools.good("ssh", "t", data=b"echo $((6*7))\n") == b"42\n"


def test_a_subsystem(tools):
    with started(tools, "-s", "t", "sftp") as process:
        process.stdin.write(struct.pack(">IBI", 5, 1, 3))
        process.stdin.flush()
        length, kind, version = struct.unpack(">IBI", process.stdout.read(9))
        assert (kind, version) == (2, 3) and length >= 5
        process.stdin.close()
        process.stdin = None
        assert process.wait(20) == 0


def test_environment(make_tools, make_sshd, target):
    tools = make_tools({"t": target(make_sshd("AcceptEnv *"), send_env=["LC_*", "GIT_PROTOCOL"])})
    done = tools.run("ssh", "-o", "SendEnv=*", "-o", "SetEnv=LC_SAID=a=b", "t", "env")
    env = dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)
    assert env["LC_SAID"] == "a=b"
    assert "GIT_AUTHOR_NAME" not in env  # in the client's environment, and not in the target's list


def test_what_a_process_left_behind_holds_open(tools):
    with started(tools, "t", "sleep 30 & echo $!; exec 2>&-", stdin=subprocess.DEVNULL) as process:
        pid = process.stdout.readline().strip().decode()
        lease, = tools.await_leases(1)
        assert lease["streams"] == 1 and process.poll() is None
        tools.good("ssh", "t", f"kill {pid}")
        assert process.wait(20) == 0


# --- descriptors --------------------------------------------------------------------------------------------------------

def test_flags_are_left_as_they_were(tools):
    pipes = [os.pipe() for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    before = [ssh_tools.flags(fd) for fd in theirs]
    process = subprocess.Popen(tools.words("ssh", "t", "echo out; echo err >&2; read -r line"), stdin=theirs[0],
                               stdout=theirs[1], stderr=theirs[2], env=tools.env())
    assert os.read(pipes[1][0], 100) == b"out\n"
    assert os.read(pipes[2][0], 100) == b"err\n"
    assert [ssh_tools.flags(fd) for fd in theirs] == before
    os.write(pipes[0][1], b"\n")
    assert process.wait(20) == 0
    assert [ssh_tools.flags(fd) for fd in theirs] == before
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_pipelines_end(tools):
    words = " ".join(f"'{w}'" for w in tools.words("ssh", "t", "printf \"a\\nb\\n\""))
    done = subprocess.run(["sh", "-c", f"{words} | wc -l"], capture_output=True, env=tools.env(), timeout=20,
                          check=True)
    assert done.stdout.strip() == b"2"


def test_nobody_reads_stdout_any_more(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, **FAST)})
    with started(tools, "t", "echo first; exec yes", stdin=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        process.stdout = None
        assert process.wait(20) != 0
    sshd.await_nothing_remote()


def test_a_client_that_does_not_read(tools):
    procs_before = procs.rss_bytes(tools.daemon.pid)
    with started(tools, "t", "head -c 20000000 /dev/zero", stdin=subprocess.DEVNULL) as process:
        tools.await_leases(1)
        for _ in range(5):  # others are served meanwhile
            tools.good("ssh", "t", "true")
        assert procs.rss_bytes(tools.daemon.pid) - procs_before < 16 << 20
        assert sum(len(part) for part in iter(lambda: process.stdout.read(1 << 20), b"")) == 20000000
        assert process.wait(20) == 0


# --- leases -------------------------------------------------------------------------------------------------------------

def test_a_session_is_a_lease_in_status(tools):
    with started(tools, "t", "echo up; cat") as process:
        assert process.stdout.readline() == b"up\n"
        lease, = tools.await_leases(1)
        assert lease["target"] == "t" and lease["pid"] == process.pid and lease["streams"] == 1
        assert "echo up; cat" in lease["command"]
        assert lease["user"] == subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    tools.await_leases(0)


def test_waiting_is_done_in_the_queue(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, max_connections=1)})
    with started(tools, "t", "echo up; cat") as first, contextlib.ExitStack() as stack:
        assert first.stdout.readline() == b"up\n"
        others = []
        for i in range(3):
            others.append(stack.enter_context(started(tools, "t", f"echo {i}", stdin=subprocess.DEVNULL)))
            tools.await_leases(i + 1, state="waiting")
        assert [p.poll() for p in others] == [None] * 3
        places = {lease["pid"]: lease["position"] for lease in tools.daemon.status()["leases"]
                  if lease["state"] == "waiting"}
        assert places == {p.pid: i + 1 for i, p in enumerate(others)}
        first.stdin.close()
        first.stdin = None
        assert first.wait(20) == 0
        assert [p.stdout.read() for p in others] == [b"0\n", b"1\n", b"2\n"]
        assert [p.wait(20) for p in others] == [0] * 3
        assert [p.stderr.read() for p in others] == [b""] * 3


def test_who_waits_too_long_is_told(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, max_connections=1, min_idle=1, acquire_timeout="300ms")})
    tools.daemon.await_connections(idle=1)  # its login is not under test
    with started(tools, "t", "echo up; cat") as first:
        assert first.stdout.readline() == b"up\n"
        done = tools.run("ssh", "t", "echo never")
        assert (done.returncode, done.stdout) == (255, b"")
        assert done.stderr == b"sshlease: target t: no connection became free within 300 ms\r\n"


def test_ssh_waits_for_a_free_connection_as_long_as_it_lives(make_tools, sshd, target, full):
    """It knows no acquire timeout; one that a program gives is for that program."""
    tools = make_tools({"t": target(sshd, max_connections=1)})
    with started(tools, "t", "echo up; cat") as first:
        assert first.stdout.readline() == b"up\n"
        with started(tools, "t", "echo served") as second:
            tools.await_leases(1, state="waiting")

            def waiting():
                return next(x for x in tools.daemon.status()["leases"] if x["state"] == "waiting")
            assert waiting()["expires_ms"] == 2 ** 53 - 1
            until(lambda: waiting()["age_ms"] > (31000 if full else 100), "longer than acquire_timeout", timeout=60)
            with pytest.raises(native.Error) as e:
                tools.daemon.client().acquire("t", acquire_timeout_ms=50)
            assert e.value.name == "timeout"
            first.stdin.close()
            assert (second.stdout.read(), second.wait(20)) == (b"served\n", 0)


def test_seventy_at_once(make_tools, sshd, target):
    """Unchanged tools, with settings that nobody has touched."""
    tools = make_tools({"t": target(sshd)})
    processes = [tools.start("ssh", "t", f"sleep 0.1; echo {n}", stdin=subprocess.DEVNULL) for n in range(70)]
    for number, process in enumerate(processes):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, b"%d\n" % number, b"")


def test_who_waits_at_a_terminal_is_told_so(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, max_connections=1, acquire_notice="50ms")})
    with started(tools, "t", "echo up; cat") as first:
        assert first.stdout.readline() == b"up\n"
        with on_terminal(tools, "t", "echo later") as second:
            second.expect("sshlease: waiting, number 1 in the queue; target t: of at most 1 connections 1 are leased")
            first.stdin.close()
            first.stdin = None
            second.expect("later")
            assert second.wait() == 0


def test_a_waiter_that_gives_up(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, max_connections=1)})
    with started(tools, "t", "echo up; cat") as first:
        assert first.stdout.readline() == b"up\n"
        with started(tools, "t", "true") as second:
            tools.await_leases(1, state="waiting")
            second.send_signal(signal.SIGINT)
            assert second.wait(20) != 0
            tools.await_leases(0, state="waiting")
        assert first.poll() is None


def test_a_killed_ssh_is_reclaimed(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, max_connections=2, **FAST)})
    with started(tools, "t", "echo up; cat") as other:
        assert other.stdout.readline() == b"up\n"
        with started(tools, "t", "echo $$; exec sleep 1000") as process:
            remote = procs.Watch(int(process.stdout.readline()))
            before = set(sshd.sessions())
            process.kill()
            remote.await_gone()
            remote.close()
        tools.daemon.log.find(r"lease=.* granted -> ended reason=client-gone")
        until(lambda: len(before & set(sshd.sessions())) < len(before), "its connection is closed")
        other.stdin.write(b"undisturbed\n")
        other.stdin.flush()
        assert other.stdout.readline() == b"undisturbed\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signalled_ssh_is_reclaimed(make_tools, sshd, target, number):
    tools = make_tools({"t": target(sshd, **FAST)})
    with started(tools, "t", "echo $$; exec sleep 1000") as process:
        remote = procs.Watch(int(process.stdout.readline()))
        process.send_signal(number)
        assert process.wait(20) != 0
        remote.await_gone()
        remote.close()


def test_killed_between_its_forward_and_its_session(tools):
    # Our command line is none of `ssh -O forward`, whose forwards would stand.
    with raw(tools, HELLO) as client, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.close()
        hear(client)
        client.sendall(frame_of(0x10000006, 0, 1, b"", port, b"localhost", 1))
        assert hear(client) == (0x80000001, struct.pack(">I", 0))
        tools.await_leases(1)
    tools.await_leases(0)


def test_a_lease_is_renewed_as_long_as_its_client_is_there(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, lease_timeout="200ms", max_lease="1m")})
    assert tools.good("ssh", "t", "sleep 1; echo done") == b"done\n"


def test_the_longest_lease_ends_with_a_reason(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, lease_timeout="200ms", max_lease="400ms", **FAST)})
    with started(tools, "t", "echo $$; exec sleep 1000", stdin=subprocess.DEVNULL) as process:
        remote = procs.Watch(int(process.stdout.readline()))
        assert process.wait(20) == 255
        assert re.fullmatch(rb"sshlease: lease \d+ of t: the lease ran out\r\n", process.stderr.read())
        remote.await_gone()
        remote.close()


def test_an_operator_ends_it(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, **FAST)})
    with started(tools, "t", "echo up; exec sleep 1000", stdin=subprocess.DEVNULL) as process:
        process.stdout.readline()
        lease, = tools.await_leases(1)
        assert tools.daemon.cli("end", str(lease["id"])).returncode == 0
        assert process.wait(20) == 255
        assert b"an operator took the lease back" in process.stderr.read()


def test_a_lost_connection(make_tools, sshd, make_proxy, target):
    proxy = make_proxy(sshd)
    tools = make_tools({"t": target(sshd, via=proxy)})
    with started(tools, "t", "echo up; cat") as process:
        process.stdout.readline()
        proxy.cut()
        assert process.wait(20) == 255
        assert process.stderr.read() == b"sshlease: target t: 127.0.0.1:%d: the server reset the connection\r\n" % proxy.port


# --- refusals -----------------------------------------------------------------------------------------------------------

def test_a_target_that_is_down(make_tools, target, make_sshd):
    server = make_sshd()
    tools = make_tools({"t": target(server, acquire_timeout="1s")})
    server.stop()
    done = tools.run("ssh", "t", "true")
    assert done.returncode == 255
    assert re.match(rb"sshlease: target t: .*Connection refused|sshlease: target t: .*connection refused", done.stderr)


def test_a_wrong_host_key(make_tools, make_sshd, target, keys):
    server = make_sshd()
    tools = make_tools({"t": target(server, known=server.known_hosts_line(key=keys.other_host))})
    done = tools.run("ssh", "t", "true")
    assert done.returncode == 255
    assert done.stderr.startswith(b"sshlease: target t: ") and b"CHANGED" in done.stderr


def test_what_a_client_may_know(tools):
    def ask(client, what):
        client.sendall(frame_of(0x20000001, 5, what))
        kind, body = hear(client)
        assert kind == 0x90000001 and body[:4] == struct.pack(">I", 5)
        known, length = struct.unpack(">II", body[4:12])
        assert length == len(body) - 12
        return known, body[12:].decode()
    with started(tools, "t", "echo up; cat") as process, raw(tools, HELLO) as client:
        process.stdout.readline()
        hear(client)
        known, text = ask(client, b"connection")
        assert known == 1 and text.startswith("Connections of sshleased to target t, at most 4:\r\n  1 leased, ")
        known, text = ask(client, b"channels")
        assert known == 1 and f"pid {process.pid} uid {os.getuid()}, for 0 s, 1 open streams\r\n" in text
        assert ask(client, b"nonsense")[0] == 0


@pytest.mark.root
def test_who_may_not_lease(make_tools, sshd, target, account):
    tools = make_tools({"t": target(sshd, allow={"users": [0]}), "open": target(sshd, allow={"users": [0, account.pw_uid]})})

    def as_account(*args):
        words = [*other_user(tools, account), *tools.words("ssh", *args)]
        return subprocess.run(words, env=tools.env(HOME="/"), stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=20)
    assert as_account("open", "echo hi").stdout == b"hi\n"
    for args in (("t", "true"), ("-O", "check", "t"), ("-tt", "t"), ("-s", "t", "sftp")):
        done = as_account(*args)
        assert done.returncode == 255, args
        assert b"not allowed to lease t" in done.stderr
    assert tools.daemon.status()["leases"] == []


def test_a_killed_daemon(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd)})
    with started(tools, "t", "echo up; cat") as process:
        process.stdout.readline()
        tools.daemon.process.kill()
        assert process.wait(20) == 255
        tools.daemon.process.wait()
        done = tools.run("ssh", "t", "true")  # the socket's name is still there
        assert done.returncode == 255
        assert b"sshlease: no sshleased answers at" in done.stderr
    sshd.await_nothing_remote()
    tools.daemon.start()
    assert tools.good("ssh", "t", "echo again") == b"again\n"


def test_an_orderly_end_tells_sessions(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, **FAST)})
    with started(tools, "t", "echo up; exec sleep 1000", stdin=subprocess.DEVNULL) as process:
        process.stdout.readline()
        tools.daemon.process.terminate()
        assert process.wait(20) == 255
        assert b"the daemon is shutting down" in process.stderr.read()


def test_x11_and_the_agent_are_missed_aloud(tools):
    done = tools.run("ssh", "-A", "t", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert done.stderr == b"sshlease: target t: the agent is not forwarded here; going on without\r\n"


def test_a_refused_subsystem(tools):
    done = tools.run("ssh", "-s", "t", "nonsense")
    assert done.returncode == 255
    assert done.stderr == b"sshlease: target t: the server refuses this subsystem\r\n"


# --- the sockets --------------------------------------------------------------------------------------------------------

def socket_path(tools, name):
    return os.path.join(tools.daemon.config["mux"]["directory"], name)


def test_sockets_come_and_go_with_their_targets(make_tools, sshd, target):
    tools = make_tools({"a": target(sshd), "b": target(sshd)})
    directory = tools.daemon.config["mux"]["directory"]

    def names():
        """Each is there with its login user's name before it, too."""
        found = os.listdir(directory)
        assert sorted(n for n in found if "@" in n) == sorted(f"{sshd.user}@{n}" for n in found if "@" not in n)
        return sorted(n for n in found if "@" not in n)
    assert names() == ["a", "b"]
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(socket_path(tools, "a")).st_mode) == 0o666
    config = {k: v for k, v in tools.daemon.config.items() if k not in ("listen", "limits")}
    tools.daemon.write_config({**config, "targets": {"b": target(sshd), "c": target(sshd)}})
    assert tools.daemon.cli("reload").returncode == 0
    assert names() == ["b", "c"]
    tools.write_config()
    assert tools.good("ssh", "c", "echo hi") == b"hi\n"
    tools.daemon.stop()
    assert os.listdir(directory) == []


@pytest.mark.parametrize("above", [False, True])
def test_a_directory_that_others_can_write_to_is_refused(make_daemon, sshd, target, tmp_path, above):
    (tmp_path / "parent").mkdir()
    directory = tmp_path / "parent" / "mux"
    directory.mkdir()
    wrong = directory.parent if above else directory
    wrong.chmod(0o777)
    daemon = make_daemon({"mux": {"directory": str(directory)}, "targets": {"t": target(sshd)}})
    daemon.log.find(rf"no target has a mux socket: {wrong}: others may write there \(mode 0777\)")
    done = daemon.cli("mux-ensure", "t")
    assert done.returncode != 0 and b"others may write there" in done.stderr
    assert not os.listdir(directory)
    # The rest of the daemon is not concerned; told to read its file again, it says what is wrong with that.
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    done = daemon.cli("reload")
    assert done.returncode != 0 and b"others may write there" in done.stderr
    wrong.chmod(0o755)
    assert daemon.cli("reload").returncode == 0
    assert (directory / "t").is_socket()


def raw(tools, *frames):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(socket_path(tools, "t"))
    for frame in frames:
        client.sendall(frame)
    return client


def frame_of(kind, *values):
    body = b"".join(struct.pack(">I", v) if isinstance(v, int) else struct.pack(">I", len(v)) + v for v in values)
    return struct.pack(">II", len(body) + 4, kind) + body


def hear(client):
    """The type and the body of the next frame; None at the end."""
    head = client.recv(8, socket.MSG_WAITALL)
    if not head:
        return None
    length, kind = struct.unpack(">II", head)
    return kind, client.recv(length - 4, socket.MSG_WAITALL) if length > 4 else b""


def session_frame(rid, command, tty=0):
    return frame_of(0x10000002, rid, b"", tty, 0, 0, 0, 0x7e, b"dumb", command)


def test_a_second_session_on_one_socket(tools):
    with raw(tools, HELLO) as client, open(os.devnull, "rb") as null:
        assert hear(client) == (1, struct.pack(">I", 4) + b"\0\0\0\4info\0\0\0\x010")
        for rid in (1, 2):
            client.sendall(session_frame(rid, b"cat; sleep 1000"))
            for _ in range(3):
                socket.send_fds(client, [b"\0"], [null.fileno()])
        answers = dict((kind, body) for kind, body in (hear(client), hear(client)))
        assert 0x80000006 in answers
        assert answers[0x80000003].endswith(b"target t: this socket has a session already")


@pytest.mark.parametrize("junk", [
    b"\xff\xff\xff\xff", struct.pack(">II", 4, 99), frame_of(0x10000004, 0), HELLO + HELLO,
    HELLO + frame_of(0x10000002, 1, b""), struct.pack(">III", 8, 1, 3)])
def test_what_is_no_client_of_openssh_is_left(tools, junk):
    with raw(tools, junk) as client:
        assert hear(client)[0] == 1
        with contextlib.suppress(ConnectionResetError):
            assert hear(client) is None
    assert tools.good("ssh", "t", "echo fine") == b"fine\n"


def test_descriptors_that_do_not_come(tools):
    before = procs.fd_count(tools.daemon.pid)
    with raw(tools, HELLO + session_frame(1, b"true")) as client, open(os.devnull, "rb") as null:
        hear(client)
        socket.send_fds(client, [b"\0"], [null.fileno()])
        client.sendall(b"\0\0")
        with contextlib.suppress(ConnectionResetError):
            assert hear(client) is None
    with raw(tools, HELLO + session_frame(1, b"true")) as client, open(os.devnull, "rb") as null:
        socket.send_fds(client, [b"\0"], [null.fileno()])
    until(lambda: procs.fd_count(tools.daemon.pid) <= before, "no descriptor is left behind")
    assert tools.daemon.status()["leases"] == []
