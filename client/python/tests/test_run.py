# SPDX-License-Identifier: MIT
"""run(), output(), renew(), close() and what they raise."""

import os
import re
import time

import pytest

import sshlease
from waiting import until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def test_version_is_the_projects():
    with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as f:
        assert re.search(r"project\(sshlease VERSION (\S+)", f.read())[1] == sshlease.__version__


def test_run(c):
    result = c.run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 3)
    assert (result.rc, result.succeeded, result.failed, result.signal) == (3, False, True, "")
    assert (result.command, result.target) == ("echo out; echo err >&2; exit 3", "t")
    assert c.run("true").succeeded


def test_a_list_is_quoted(c):
    words = ["printf", "%s|", "a b", "$HOME", "it's", "", "*"]
    assert c.output(words) == "a b|$HOME|it's||*|"


def test_input_and_bytes(c):
    every = bytes(range(256)) * 3000  # beyond one window
    result = c.run("cat; cat >&2 </dev/null", input=every, encoding=None)
    assert result.stdout == every and result.stderr == b""
    assert c.run("cat", input="grüße\n").stdout == "grüße\n"
    assert c.run("cat").stdout == ""  # no input is the end of it, not a wait
    assert c.run("exit 0", input=every).succeeded  # a command that reads nothing


def test_undecodable_output(c):
    result = c.run(r"printf '\377ok'")
    assert (result.stdout, result.stdout_bytes) == ("\ufffdok", b"\xffok")
    assert c.run(r"printf '\344'", encoding="latin-1").stdout == "ä"
    with pytest.raises(TypeError):
        c.run("cat", input="text", encoding=None)


def test_check(c):
    with pytest.raises(sshlease.CommandFailed, match="t: .*exited with 4: no such thing") as caught:
        c.run("echo out; echo no such thing >&2; exit 4", check=True)
    error = caught.value
    assert (error.target, error.returncode, error.stdout, error.stderr) == ("t", 4, "out\n", "no such thing\n")
    with pytest.raises(sshlease.CommandFailed):
        c.output("false")
    with pytest.raises(sshlease.CommandFailed, match=r"exited with 4: \?\[31mred \?1m \? ü"):
        c.run(r"printf '\033[31mred\t\302\2331m \342\200\256 ü\n' >&2; exit 4", check=True)


def test_a_signal_is_told(c):
    result = c.run("kill -TERM $$")
    assert (result.signal, result.returncode, result.failed) == ("TERM", -15, True)
    with pytest.raises(sshlease.CommandFailed, match="SIGTERM"):
        result.check()


def test_timeout_ends_the_command(c, sshd):
    with pytest.raises(sshlease.CommandTimeout, match=r"t: 'echo begun; exec sleep 4000' .* 0\.3 s") as caught:
        c.run("echo begun; exec sleep 4000", timeout=0.3)
    assert caught.value.stdout == "begun\n"
    assert isinstance(caught.value, TimeoutError)
    sshd.await_nothing_remote()
    assert c.output("echo still leased", timeout=30) == "still leased\n"


def test_what_a_command_that_was_given_up_has_detached_goes_with_the_lease(lease, daemon, sshd):
    c = lease()
    with pytest.raises(sshlease.CommandTimeout):
        c.run("setsid sleep 4000 >/dev/null 2>&1 & echo begun; exec sleep 4001", timeout=0.3)
    until(lambda: c.run("true").succeeded and not c._session.streams and len(sshd.remote()) == 1, "the command's end")
    c.close()
    sshd.await_nothing_remote()
    assert daemon.connections()["idle"] == 0


def test_environment_and_terminal(c):
    assert c.output("echo $LC_TEST", env={"LC_TEST": "über"}) == "über\n"


@pytest.mark.pty
def test_terminal(c):
    assert c.output("tty >/dev/null && stty size", pty=(132, 43)).split() == ["43", "132"]
    assert c.run("echo $TERM", pty=sshlease.Pty(term="xterm")).stdout == "xterm\r\n"
    assert c.run("stty size; echo here >&2", pty=True).stdout == "24 80\r\nhere\r\n"


def test_arguments_that_make_no_sense(c):
    for command in ("", "a\0b", "x" * 262001):
        with pytest.raises(ValueError):
            c.run(command)
    with pytest.raises(ValueError):
        c.run("true", env={"": "x"})
    with pytest.raises(ValueError):
        sshlease.lease("")
    with pytest.raises(ValueError):
        sshlease.lease("t", timeout=-1)
    assert c.run("true").succeeded


def test_lease(daemon, lease):
    c = lease(label="prüfung")
    (status,) = daemon.status()["leases"]
    assert (status["id"], status["label"], status["target"]) == (c.id, "prüfung", "t")
    assert 0 < c.left <= 86400 and not c.closed and not c.over
    assert "granted" in repr(c)
    c.close()
    c.close()
    assert c.closed and c.over and c.left == 0.0
    daemon.await_connections(idle=1, leased=0)  # clean
    with pytest.raises(sshlease.LeaseEnded, match="t: the lease was given back"):
        c.run("true")


def test_renew(lease):
    c = lease(lease_timeout=60)
    assert 59 < c.renew() <= 60
    assert 119 < c.renew(120) <= 120 and 119 < c.left <= 120


@pytest.mark.once
def test_a_waiting_call_keeps_the_lease(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    with sshlease.lease("t", socket=daemon.path, lease_timeout=1) as c:
        assert c.run("sleep 2.5; echo done").stdout == "done\n"
        assert c.left > 0.3


def test_an_idle_lease_runs_out(lease, daemon):
    c = lease(lease_timeout=0.3)
    until(lambda: not daemon.status()["leases"], "the end of the lease")
    with pytest.raises(sshlease.Expired, match="t.*: "):
        c.run("true")
    c.close()


def test_expired_in_mid_command(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, lease_timeout="1s", max_lease="1s", kill_grace="200ms")}})
    with sshlease.lease("t", socket=daemon.path) as c:
        with pytest.raises(sshlease.Expired):
            c.run("echo begun; exec sleep 4000")


def test_revoked(c, daemon):
    with daemon.client() as admin:
        admin.end(c.id)
    with pytest.raises(sshlease.Revoked) as caught:
        c.run("true")
    assert caught.value.target == "t" and caught.value.retryable


def test_refusals(daemon, lease, make_daemon, make_sshd, target, keys):
    with pytest.raises(sshlease.Refused, match="nowhere") as caught:
        lease("nowhere")
    assert (caught.value.name, caught.value.target, caught.value.unsent) == ("no-target", "nowhere", True)
    with lease() as c, pytest.raises(sshlease.Refused) as caught:
        c.subsystem("no-such-thing")
    assert caught.value.name == "stream-refused"

    server = make_sshd()
    stranger = make_daemon({"targets": {
        "unknown": target(server, known=""), "changed": target(server, known=server.known_hosts_line(key=keys.other_host)),
        "denied": target(server, identity_file=keys.stranger), "dead": {**target(server), "port": 1}}})
    for name, kind in (("unknown", sshlease.HostKeyError), ("changed", sshlease.HostKeyError),
                       ("denied", sshlease.AuthenticationError), ("dead", sshlease.Unreachable)):
        with pytest.raises(kind, match=name):
            sshlease.lease(name, socket=stranger.path)


def test_no_connection_in_time(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1, waiters=1)}})
    with sshlease.lease("t", socket=daemon.path):
        with pytest.raises(sshlease.Timeout, match="t") as caught:
            sshlease.lease("t", socket=daemon.path, timeout=0.2)
        assert isinstance(caught.value, TimeoutError) and caught.value.unsent
        with daemon.client() as other:
            other.start_acquire("t")
            until(lambda: daemon.target()["waiters"] == 1, "a waiter")
            with pytest.raises(sshlease.Busy):
                sshlease.lease("t", socket=daemon.path)


def test_no_daemon(tmp_path, monkeypatch):
    with pytest.raises(sshlease.NoDaemon, match=r"web1: no sshleased .*sshleased --user") as caught:
        sshlease.lease("web1", socket=str(tmp_path / "s.sock"))
    assert isinstance(caught.value, sshlease.DaemonGone) and isinstance(caught.value, ConnectionError)
    (tmp_path / "a file").touch()
    with pytest.raises(sshlease.NoDaemon):
        sshlease.lease("web1", socket=str(tmp_path / "a file"))
    monkeypatch.setenv("SSHLEASE_SOCKET", str(tmp_path / "named"))
    assert sshlease.default_socket() == str(tmp_path / "named")
    monkeypatch.delenv("SSHLEASE_SOCKET")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert sshlease.default_socket() == "/run/sshleased/sshleased.sock"
    (tmp_path / "sshleased.sock").touch()
    assert sshlease.default_socket() == str(tmp_path / "sshleased.sock")
    # As cron and su have it.
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(sshlease._connect, "USERS_DIRECTORY", str(tmp_path))
    assert sshlease.default_socket() == "/run/sshleased/sshleased.sock"
    own = tmp_path / str(os.geteuid())
    own.mkdir()
    (own / "sshleased.sock").touch()
    assert sshlease.default_socket() == str(own / "sshleased.sock")


def test_the_daemon_dies(c, daemon):
    daemon.kill()
    begin = time.monotonic()
    with pytest.raises(sshlease.DaemonGone, match="t: sshleased closed the connection"):
        c.run("true")
    with pytest.raises(sshlease.DaemonGone):
        c.run("true")
    c.close()
    assert time.monotonic() - begin < 5


def test_errors_can_be_pickled():
    import pickle
    error = sshlease._errors.error_for(33, "it is gone", target="t")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code, again.target) == (sshlease.ConnectionLost, "t: it is gone", 33, "t")
    again = pickle.loads(pickle.dumps(sshlease.CommandTimeout("sleep 9", 1.5, target="t", stdout="x")))
    assert (again.cmd, again.timeout, again.stdout) == ("sleep 9", 1.5, "x")


@pytest.mark.paramiko
@pytest.mark.parametrize("encoding", ["utf-8", None])
def test_no_exit_status(silent, encoding):
    """What was written is not lost, and it is no success."""
    out, err = ("out of show version\n", "err\n") if encoding else (b"out of show version\n", b"err\n")
    with sshlease.lease("t", socket=silent) as c:
        with pytest.raises(sshlease.NoOrderlyEnd, match="without an exit status") as caught:
            c.run("show version", encoding=encoding)
        assert (caught.value.stdout, caught.value.output, caught.value.stderr) == (out, out, err)
        with pytest.raises(sshlease.NoOrderlyEnd) as caught:
            c.popen("show version", encoding=encoding).communicate()
        assert (caught.value.stdout, caught.value.stderr) == (out, err)
        p = c.popen("show version", encoding=encoding)
        with pytest.raises(sshlease.NoOrderlyEnd):
            p.wait()
        with pytest.raises(sshlease.NoOrderlyEnd) as caught:
            p.stdout.read()
        assert caught.value.stdout == out


@pytest.mark.paramiko
def test_a_connection_that_is_lost_takes_no_output_with_it(silent):
    with sshlease.lease("t", socket=silent) as c, pytest.raises(sshlease.SshleaseError) as caught:
        c.run("cut short")
    assert (caught.value.stdout, caught.value.stderr) == ("out of cut short\n", "err\n")
    assert isinstance(caught.value, sshlease.ConnectionLost)
