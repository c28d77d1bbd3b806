# SPDX-License-Identifier: MIT
"""`sshlease`, the command line."""

import json
import os
import re
import signal
import subprocess

import pytest

import procs
from daemon import program, read_line
from sshd import free_port
from terminal import Terminal
from waiting import until


def one_line(done, code=255):
    """Our own failures: 255 and one line that says why."""
    assert done.returncode == code, done
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("sshlease: ") and line.isprintable(), line
    return line


@pytest.fixture
def terminal(daemon):
    open_ones = []

    def make(*args, **more):
        open_ones.append(Terminal([program("sshlease"), *args], {**daemon.cli_env(), "TERM": "xterm-256color"}, **more))
        return open_ones[-1]
    yield make
    for one in open_ones:
        one.close()


@pytest.mark.parametrize("words", [[], ["exec"], ["shell"], ["status"], ["ssh-config"], ["mux-ensure"], ["end"],
                                   ["reload"]])
def test_help_everywhere(words):
    done = subprocess.run([program("sshlease"), *words, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "sage: sshlease" in done.stdout and not done.stderr
    assert all(len(line) <= 120 for line in done.stdout.splitlines())


@pytest.mark.parametrize("words", [["--version"], ["exec", "--version"], ["status", "--version"]])
def test_version(words):
    done = subprocess.run([program("sshlease"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.search(r"sshlease \d+\.\d+\.\d+", done.stdout)


@pytest.mark.parametrize("words", [[], ["nonsense"], ["exec"], ["exec", "--nonsense", "t", "true"], ["end"], ["end", "x"]])
def test_wrong_usage_is_said(daemon, words):
    done = daemon.cli(*words)
    assert done.returncode in (2, 255) and b"sshlease" in done.stderr and not done.stdout


# --- exec ---

@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_status(daemon, code):
    done = daemon.cli("exec", "t", "--", "exit", code)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_without_dashes(daemon):
    done = daemon.cli("exec", "t", "echo", "-n", "x", "--help")
    assert (done.returncode, done.stdout) == (0, b"x --help")


def test_words_are_joined_as_ssh_does_it(daemon):
    assert daemon.cli("exec", "t", "--", "echo", "a  b;", "echo c").stdout == b"a b\nc\n"


def test_killed_by_a_signal(daemon):
    done = daemon.cli("exec", "t", "--", "kill -KILL $$")
    assert done.returncode != 0 and b"KILL" in done.stderr


def test_binary_data_through_all_three(daemon):
    data = bytes(range(256)) * 4096
    done = daemon.cli("exec", "t", "--", "tee /dev/stderr", data=data)
    assert done.returncode == 0 and done.stdout == data and done.stderr == data


def test_large_data(daemon):
    data = os.urandom(1 << 20) * 32
    done = daemon.cli("exec", "t", "--", "cat", data=data)
    assert done.returncode == 0 and done.stdout == data


def test_files_for_input_and_output(daemon, tmp_path):
    """Regular files, which epoll refuses."""
    data = os.urandom(3 << 20)
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_bytes(data)
    with open(source, "rb") as i, open(sink, "wb") as o:
        child = daemon.cli_start("exec", "t", "--", "cat", stdin=i, stdout=o)
        assert child.wait(60) == 0
    assert sink.read_bytes() == data


def test_dev_null_for_input(daemon):
    child = daemon.cli_start("exec", "t", "--", "cat; echo end", stdin=subprocess.DEVNULL)
    assert child.communicate(timeout=30)[0] == b"end\n" and child.returncode == 0


def test_closed_input_and_output(daemon):
    """stdin, stdout and stderr not open at all."""
    words = " ".join([program("sshlease"), "exec", "t", "--", "exit", "6"])
    done = subprocess.run(["/bin/sh", "-c", f"{words} <&- >&- 2>&-"], env=daemon.cli_env(), check=False, timeout=30)
    assert done.returncode == 6


@pytest.mark.parametrize("words", ["exec t -- echo x", "exec t -- 'echo x; cat'", "exec -t t -- echo x", "status", "status --json",
                                   "ssh-config t", "mux-ensure --print t"])
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_an_error(make_tools, sshd, target, words, redirection):
    daemon = make_tools({"t": target(sshd)}).daemon
    done = subprocess.run(["/bin/sh", "-c", f"{program('sshlease')} {words} {redirection}"], env=daemon.cli_env(),
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    assert done.returncode == (255 if words.startswith(("exec", "mux")) else 1)
    assert re.fullmatch(r"sshlease: cannot write [^\n]*: (Bad file descriptor|No space left on device)\n", done.stderr)


def test_the_pipe_s_reader_goes_away(daemon, sshd):
    child = daemon.cli_start("exec", "t", "--", "cat /dev/zero")
    child.stdout.read(10)
    child.stdout.close()
    assert child.wait(30) != 0
    child.stderr.close()
    child.stdin.close()
    sshd.await_nothing_remote()


def test_input_stays_open_while_the_command_ends(daemon):
    child = daemon.cli_start("exec", "t", "--", "echo done")
    assert read_line(child.stdout) == "done\n"
    assert child.wait(10) == 0
    child.communicate()


def test_non_blocking_is_not_left_on_a_shared_terminal_or_pipe(daemon):
    import fcntl
    r, w = os.pipe()
    child = daemon.cli_start("exec", "t", "--", "echo x", stdout=w, stderr=w)
    child.communicate(b"", timeout=30)
    assert not fcntl.fcntl(w, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(r)
    os.close(w)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_remote_command(daemon, sshd, number):
    name = number.name[3:]
    child = daemon.cli_start("exec", "t", "--",
                             f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done")
    assert read_line(child.stdout) == "ready\n"
    child.send_signal(number)
    out, _ = child.communicate(timeout=30)
    assert out == f"got {name}\n".encode() and child.returncode != 0
    sshd.await_nothing_remote()


def test_ctrl_c_without_a_trap(daemon, sshd):
    child = daemon.cli_start("exec", "t", "--", "echo $$; exec sleep 300")
    watch = procs.Watch(int(read_line(child.stdout)))
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode != 0
    watch.await_gone()


def test_a_second_ctrl_c_ends_it_whatever_the_command_does(daemon, sshd):
    child = daemon.cli_start("exec", "t", "--", "trap '' INT; echo $$; while :; do sleep 0.1; done")
    watch = procs.Watch(int(read_line(child.stdout)))
    child.send_signal(signal.SIGINT)
    assert not watch.gone(0.3)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode != 0
    watch.await_gone()


def test_timeout(daemon, sshd):
    done = daemon.cli("exec", "--timeout", "700ms", "t", "--", "echo begun; exec sleep 300")
    assert done.stdout == b"begun\n" and done.returncode == 124 and b"0.7 s" in done.stderr
    sshd.await_nothing_remote()


def test_timeout_while_waiting_for_a_connection(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1)}})
    daemon.leased()
    assert "500 ms" in one_line(daemon.cli("exec", "--acquire-timeout", "500ms", "t", "--", "true"))


def test_environment_variables(daemon):
    assert daemon.cli("exec", "t", "--", "echo $LC_OURS", env={"LC_OURS": "hello"}).stdout in (b"hello\n", b"\n")


def test_a_variable_that_is_not_in_send_env_is_named(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, send_env=["LC_OURS", "X_*"]), "u": target(sshd)}})
    words = ["-e", "LC_OURS=1", "-e", "X_2=2", "-e", "FOO=3", "--", "echo $LC_OURS $FOO"]
    done = daemon.cli("exec", "t", *words)
    assert done.returncode == 0 and done.stdout.split()[-1:] != [b"3"]
    assert one_line(done, 0) == "sshlease: t: FOO is not passed: the target's send_env does not have it"
    said = daemon.cli("exec", "u", *words).stderr.decode().splitlines()
    assert [line.split()[2] for line in said] == ["X_2", "FOO"]


@pytest.mark.parametrize("case", ["no target", "no daemon", "refused", "changed key"])
def test_our_own_failures_are_255_and_one_line(make_daemon, make_sshd, sshd, target, keys, case):
    changed = make_sshd("LogLevel INFO")
    daemon = make_daemon({"targets": {
        "down": {**target(sshd), "port": free_port()},
        "changed": target(changed, known=changed.known_hosts_line(key=keys.other_host)),
    }})
    if case == "no target":
        assert "nowhere" in one_line(daemon.cli("exec", "nowhere", "--", "true"))
    elif case == "no daemon":
        line = one_line(daemon.cli("exec", "t", "--", "true", env={"SSHLEASE_SOCKET": "/nowhere/s.sock"}))
        assert "/nowhere/s.sock" in line
    elif case == "refused":
        assert "down" in one_line(daemon.cli("exec", "down", "--", "true"))
    else:
        assert "CHANGED" in one_line(daemon.cli("exec", "changed", "--", "true"))


def test_the_daemon_dies_under_a_command(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    child = daemon.cli_start("exec", "t", "--", "echo begun; exec sleep 300")
    assert read_line(child.stdout) == "begun\n"
    daemon.kill()
    _, err = child.communicate(timeout=10)
    assert child.returncode == 255 and err.startswith(b"sshlease: ") and err.count(b"\n") == 1
    sshd.kill_remote()


def test_the_lease_is_taken_away_under_a_command(daemon, sshd):
    child = daemon.cli_start("exec", "t", "--", "echo begun; exec sleep 300")
    assert read_line(child.stdout) == "begun\n"
    (lease,) = daemon.status()["leases"]
    assert lease["pid"] == child.pid and "sshlease exec t" in lease["command"]
    assert daemon.cli("end", lease["id"]).returncode == 0
    _, err = child.communicate(timeout=10)
    assert child.returncode == 255 and b"operator" in err or b"revoked" in err
    sshd.await_nothing_remote()


def test_it_renews_by_itself(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, lease_timeout="600ms")}})
    done = daemon.cli("exec", "t", "--", "sleep 2; echo still here")
    assert (done.returncode, done.stdout) == (0, b"still here\n")


# --- on a terminal ---

@pytest.mark.pty
def test_pty_with_a_window_that_changes(terminal):
    t = terminal("exec", "-t", "t", "--", "trap 'stty size' WINCH; trap 'exit 7' INT; tty; stty size; echo $TERM; "
                 "echo ready; while :; do sleep 0.05; done")
    seen = t.expect("ready")
    assert b"/dev/pts/" in seen and b"40 100" in seen and b"xterm-256color" in seen
    t.resize(50, 132)
    t.expect("50 132")
    t.type("\x03")
    assert t.wait() == 7


@pytest.mark.pty
def test_ctrl_c_in_a_pty_is_the_remote_terminal_s(terminal):
    t = terminal("exec", "-t", "t", "--", "trap 'echo got it; exit 7' INT; echo ready; while :; do sleep 0.05; done")
    t.expect("ready")
    t.type("\x03")
    t.expect("got it")
    assert t.wait() == 7


@pytest.mark.pty
def test_the_terminal_is_given_back_as_it_was(daemon):
    shell = Terminal(["/bin/sh"], {**daemon.cli_env(), "PS1": "local$ ", "TERM": "xterm"})
    try:
        shell.expect("local$ ")
        before = shell.attributes()
        shell.type(f"{program('sshlease')} exec -t t -- 'echo remote; exit 3'\n")
        shell.expect("remote\r\n")
        shell.expect("local$ ")
        assert shell.attributes() == before
        shell.type("echo code $?\n")
        shell.expect("code 3")
        # Taken away with a signal, too.
        shell.type(f"{program('sshlease')} exec -t t -- 'echo remote; sleep 300'\n")
        shell.expect("remote\r\n")
        (lease,) = daemon.status()["leases"]
        os.kill(lease["pid"], signal.SIGTERM)
        shell.expect("local$ ")
        assert shell.attributes() == before
        shell.type("exit\n")
        shell.wait()
    finally:
        shell.close()


@pytest.mark.pty
def test_shell_on_a_terminal(terminal):
    t = terminal("shell", "t")
    t.type("PS1='far$ '; echo in $((40 + 2))\n")
    t.expect("in 42")
    t.type("tty; exit 4\n")
    t.expect("/dev/pts/")
    assert t.wait() == 4


def test_shell_in_a_pipe(daemon):
    done = daemon.cli("shell", "t", data=b"echo out; exit 5\n")
    assert done.returncode == 5 and b"out\n" in done.stdout


# --- status, end, reload ---

def test_status_json_is_the_daemon_s(daemon):
    client = daemon.leased(label="mine")
    done = daemon.cli("status", "--json")
    assert done.returncode == 0
    status = json.loads(done.stdout)
    assert [t["name"] for t in status["targets"]] == ["t"]
    assert set(status["targets"][0]["connections"]) == {"dialing", "idle", "leased", "draining", "closing"}
    (lease,) = status["leases"]
    assert lease["id"] == client.lease and {"target", "pid", "uid", "age_ms", "expires_ms"} <= set(lease)


def test_status_for_people(daemon):
    client = daemon.leased(label="mine")
    done = daemon.cli("status")
    text = done.stdout.decode()
    assert done.returncode == 0 and "\x1b" not in text
    assert str(client.lease) in text and str(os.getpid()) in text and re.search(r"\bt\b", text)
    assert not [line for line in text.splitlines() if line != line.rstrip()], "trailing blanks"


def test_status_escapes_what_a_holder_calls_itself(daemon):
    daemon.leased(label="\x1b[31mred\x07 \x9b31m \u202e".encode() + b" \xff\xc3 \xc3\xbc")
    assert "?[31mred? ??31m ??? ?? ü" in daemon.cli("status").stdout.decode()
    out = daemon.cli("status", "--json").stdout
    assert b"\x1b" not in out and b"\x07" not in out
    assert json.loads(out)["leases"][0]["label"] == "\x1b[31mred\x07 ??31m ??? ?? ü"


def test_status_on_a_terminal(daemon, terminal):
    client = daemon.leased()
    t = terminal("status", cols=80)
    t.expect(str(client.lease))
    assert t.wait() == 0


def test_status_without_anything(make_daemon):
    daemon = make_daemon({"targets": {}})
    done = daemon.cli("status")
    assert done.returncode == 0 and done.stdout


def test_end(daemon):
    client = daemon.leased()
    assert daemon.cli("end", client.lease).returncode == 0
    client.pump(lambda: client.ended)
    assert b"lease" in daemon.cli("end", 12345).stderr
    assert daemon.cli("end", 12345).returncode != 0


def test_reload(daemon, sshd, target):
    daemon.write_config({"targets": {"u": target(sshd)}})
    assert daemon.cli("reload").returncode == 0
    assert daemon.cli("exec", "u", "--", "echo u").stdout == b"u\n"
    daemon.write_config_text("targets: {t: {prot: 1}}\n")
    done = daemon.cli("reload")
    assert done.returncode != 0 and f"{daemon.config_file}:1:".encode() in done.stderr
    assert daemon.cli("exec", "u", "--", "echo u").stdout == b"u\n"


def test_the_notice_of_a_long_wait(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1, acquire_notice="100ms")}})
    holder = daemon.leased()
    child = daemon.cli_start("exec", "t", "--", "echo mine")
    until(lambda: daemon.target()["waiters"] == 1, "a waiter")
    line = read_line(child.stderr)
    assert line.startswith("sshlease: ") and "wait" in line
    holder.release()
    assert child.communicate(timeout=20)[0] == b"mine\n" and child.returncode == 0


def test_stop(daemon):
    """One's own daemon, and its lease is given back before; where none runs, there is nothing to do."""
    holder = daemon.cli_start("exec", "t", "--", "echo held; sleep 0.2")
    assert read_line(holder.stdout) == "held\n"
    done = daemon.cli("stop")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert daemon.process.poll() == 0  # over when the command is
    holder.communicate(timeout=30)
    done = daemon.cli("stop")
    assert done.returncode == 0 and "no sshleased is listening" in done.stderr.decode()
    assert daemon.cli("stop", "it").returncode == 2


@pytest.mark.root
def test_another_users_is_not_stopped(make_daemon, account):
    daemon = make_daemon(user=account)
    line = one_line(daemon.cli("stop"), code=1)
    assert re.search(rf"process {daemon.pid}\) is not yours; .*systemctl stop sshleased", line)
    assert daemon.process.poll() is None
