# SPDX-License-Identifier: MIT
"""What a stream carries: exit codes, bytes, ends, pty, signals, subsystems; checked by the native protocol itself."""

import hashlib
import os
import struct

import pytest

import native
import procs


@pytest.fixture
def lease(daemon):
    return daemon.leased()


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_status(lease, code):
    end = lease.run(f"exit {code}").end
    assert (end.how, end.exit_status) == (native.STATUS, code)


def test_exit_by_a_signal_is_no_exit_status(lease):
    end = lease.run("kill -TERM $$").end
    assert (end.how, end.signal) == (native.SIGNAL, "TERM")


def test_stdout_and_stderr_are_kept_apart(lease):
    stream = lease.run("echo out; echo err >&2; echo more")
    assert (stream.stdout, stream.stderr) == (b"out\nmore\n", b"err\n")
    assert stream.eof, "no EOF was said"


def test_every_byte_both_ways(lease):
    data = bytes(range(256)) * 1000 + b"\0\n\r\xff"
    stream = lease.run("cat; cat /dev/null >&2", data)
    assert stream.stdout == data and stream.end.exit_status == 0


def test_no_input_is_an_end_of_file(lease):
    assert lease.run("cat; echo done").stdout == b"done\n"


@pytest.mark.parametrize("window", [1, 1000, 16 << 20])
def test_large_output_through_any_window(lease, window):
    size = 20_000 if window == 1 else 24 << 20
    stream = lease.run(f"head -c {size} /dev/zero | tr '\\0' x", window=window)
    assert len(stream.stdout) == size and stream.stdout.count(b"x") == size


def test_large_input(lease):
    data = os.urandom(1 << 20) * 24
    stream = lease.run("sha256sum", data)
    assert stream.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_input_that_nobody_reads_does_not_block(lease):
    stream = lease.run("exec 0<&-; echo closed; exit 3", os.urandom(4 << 20))
    assert (stream.stdout, stream.end.exit_status) == (b"closed\n", 3)


def test_end_of_output_before_the_end(lease):
    stream = lease.exec("exec >&- 2>&-; read line; exit 4").await_opened()
    lease.pump(lambda: stream.eof)
    assert stream.end is None
    stream.write(b"go\n")
    assert stream.await_end().exit_status == 4


def test_environment_as_far_as_it_is_let_through(lease):
    stream = lease.run('echo "$LC_OURS,$EVIL"', env=[("LC_OURS", "a b"), ("EVIL", "x")])
    assert stream.stdout == b"a b,\n"


def test_several_streams_at_once_and_no_more_than_said(daemon):
    client = daemon.client()
    granted = client.acquire("t")
    assert granted.streams == 8
    streams = [client.exec("read x; echo $x").await_opened() for _ in range(granted.streams)]
    with pytest.raises(native.Error) as e:
        client.exec("true").await_opened()
    assert e.value.name == "stream-limit" and e.value.unsent
    for i, stream in reversed(list(enumerate(streams))):
        stream.write(b"%d\n" % i)
        assert stream.await_end().exit_status == 0 and stream.stdout == b"%d\n" % i
    assert client.run("echo again").stdout == b"again\n"


def test_a_stream_number_is_free_again_after_its_end(lease):
    for _ in range(3):
        stream = lease.open_stream(native.EXEC, "echo x", number=77).await_opened()
        assert stream.await_end().exit_status == 0 and stream.stdout == b"x\n"


def test_a_server_with_fewer_sessions_is_learned_from(make_sshd, make_daemon, target):
    server = make_sshd("MaxSessions 3")
    client = make_daemon({"targets": {"t": target(server)}}).leased()
    ended = 0
    for _ in range(6):
        streams = [client.exec("read x; exit 9") for _ in range(5)]
        for stream in streams:
            client.pump(lambda s=stream: s.opened or s.error or s.end)
        for stream in streams:
            if stream.opened:
                stream.write_eof()
                assert stream.await_end().exit_status == 9
                ended += 1
            else:
                assert stream.error.name in ("stream-limit", "stream-refused"), stream.error
    assert ended >= 6 * 2
    assert client.run("echo fine").stdout == b"fine\n"


def test_subsystem(lease):
    stream = lease.open_stream(native.SUBSYSTEM, "sftp").await_opened()
    stream.write(struct.pack(">IBI", 5, 1, 3))  # SSH_FXP_INIT, version 3
    lease.pump(lambda: len(stream.output[0]) >= 9)
    assert struct.unpack_from(">BI", stream.stdout, 4) == (2, 3)  # SSH_FXP_VERSION, version 3
    stream.write_eof()
    stream.await_end()


def test_a_subsystem_the_server_does_not_have(lease):
    stream = lease.open_stream(native.SUBSYSTEM, "nonsense")
    with pytest.raises(native.Error) as e:
        stream.await_opened()
    assert e.value.name == "stream-refused" and "subsystem" in e.value.text
    assert lease.run("echo on").stdout == b"on\n"


def test_shell(lease):
    stream = lease.open_stream(native.SHELL).await_opened()
    stream.write(b"echo hello from $0; exit 5\n")
    assert stream.await_end().exit_status == 5
    assert b"hello from" in stream.stdout


@pytest.mark.pty
def test_pty_with_window_change(lease):
    command = "trap 'stty size; exit 6' WINCH; echo $TERM; tty; stty size; echo ready; while :; do sleep 0.05; done"
    stream = lease.exec(command, pty=("xterm-256color", 101, 41)).await_opened()
    text = stream.await_output("ready")
    assert b"xterm-256color" in text and b"/dev/pts/" in text and b"41 101" in text
    stream.resize(132, 50)
    assert stream.await_end().exit_status == 6
    assert b"50 132" in stream.stdout


def test_signals_reach_the_command(lease):
    stream = lease.exec("trap 'echo got; exit 8' INT; echo ready; while :; do sleep 0.05; done").await_opened()
    stream.await_output("ready")
    stream.signal("INT")
    assert stream.await_end().exit_status == 8
    assert stream.stdout == b"ready\ngot\n"


def test_closing_a_stream_ends_its_command_and_keeps_the_lease(lease):
    stream = lease.exec("echo $$; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    stream.close()
    stream.await_end()
    watch.await_gone()
    assert lease.run("echo still here").stdout == b"still here\n"


def test_closing_a_stream_asks_its_command_first(lease):
    """TERM comes before KILL, and leaves the command time to put things in order."""
    stream = lease.exec("d=$(mktemp -d); trap 'sleep 0.2; echo in order > $d/left; exit 0' TERM; echo $d; "
                        "while :; do sleep 0.05; done").await_opened()
    directory = stream.await_output("\n").decode().strip()
    stream.close()
    stream.await_end()
    assert lease.run(f"cat {directory}/left; rm -r {directory}").stdout == b"in order\n"


def test_closing_a_stream_that_ignores_term(make_daemon, sshd, target):
    client = make_daemon({"targets": {"t": target(sshd, kill_grace="200ms")}}).leased()
    stream = client.exec("trap '' TERM; echo $$; while :; do sleep 0.1; done").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    stream.close()
    stream.await_end()
    watch.await_gone()


def test_closing_a_stream_before_it_is_open(lease):
    for _ in range(5):
        lease.exec("sleep 300").close()
    stream = lease.run("echo open")
    assert stream.stdout == b"open\n"
    lease.pump(lambda: not lease.streams)


@pytest.mark.parametrize("commands", [40])
def test_commands_one_after_the_other(lease, commands):
    for i in range(commands):
        assert lease.run(f"echo {i}").stdout == b"%d\n" % i
