# SPDX-License-Identifier: MIT
"""OpenSSH's sshd as others configure it: without Debian's AcceptEnv, with one session, with a shell that greets. What other
programs do differently is in tests/interop."""

import os
import pathlib
import tempfile

import pytest

import account
import native
import procs
import sshd as sshd_module
from holders import LEAVE
from waiting import until

FAST = {"kill_grace": "300ms"}


@pytest.fixture
def bare(make_sshd):
    """Upstream's own default: no variable is taken."""
    return make_sshd(accept_env=None)


def logins(server):
    return len(server.log.matches("Accepted publickey"))


def test_commands_in_a_row_are_answered_as_they_end(make_daemon, bare, target):
    daemon = make_daemon({"targets": {"t": target(bare, max_connections=1)}})
    for number in range(20):
        with daemon.leased() as client:
            end = client.run(f"echo {number}; exit {number}")
            assert (end.stdout, end.end.how, end.end.exit_status) == (b"%d\n" % number, native.STATUS, number)
            client.release()
    assert logins(bare) == 1, "a connection on which a variable was refused is as good as another"
    assert "the server refuses LC_SSHLEASE" in daemon.target()["learned"]


def test_commands_at_once_are_answered_as_they_end(make_daemon, bare, target):
    daemon = make_daemon({"targets": {"t": target(bare, sharing=4, max_connections=2)}})
    clients = [daemon.leased() for _ in range(8)]
    streams = [client.exec(f"echo {number}; exit {number}") for number, client in enumerate(clients)]
    for number, stream in enumerate(streams):
        end = stream.await_end()
        assert (stream.stdout, end.how, end.exit_status) == (b"%d\n" % number, native.STATUS, number)


@pytest.mark.parametrize("accept_env", ["LANG LC_*", None])
def test_a_variable_that_is_refused_takes_nobodys_answer(make_daemon, make_sshd, target, accept_env):
    server = make_sshd(accept_env=accept_env)
    daemon = make_daemon({"targets": {"t": target(server, send_env=["*"])}})
    for number in range(5):
        with daemon.leased() as client:
            stream = client.exec("echo ${LANG-none} ${FOO-none}; exit 3", env=[("LANG", "C"), ("FOO", "1")])
            end = stream.await_end()
            assert (end.how, end.exit_status) == (native.STATUS, 3)
            assert stream.stdout == (b"C none\n" if accept_env else b"none none\n")
            client.release()


def test_nothing_that_was_not_asked_for_is_sent(make_daemon, make_sshd, target):
    server = make_sshd("LogLevel DEBUG2", accept_env=None)
    for cleanup in ("signal", "off"):
        daemon = make_daemon({"targets": {"t": target(server, remote_cleanup=cleanup, **FAST)}})
        for _ in range(3):
            with daemon.leased() as client:
                assert client.run("echo ran").stdout == b"ran\n"
                client.release()
        with daemon.leased() as client:
            client.exec("exec sleep 60").await_opened()
        daemon.await_connections(leased=0, draining=0, closing=0)
        daemon.stop()
    assert not server.log.matches("LC_SSHLEASE|Ignoring env request"), "a cookie was sent"


def test_what_left_its_group_is_found_without_a_cookie(make_daemon, bare, target):
    """By SSH_CONNECTION; and what an earlier lease of the same connection left running on purpose stays."""
    daemon = make_daemon({"targets": {"t": target(bare, max_connections=1, **FAST)}})
    first = daemon.leased()
    kept = procs.Watch(int(first.run(LEAVE + "sleep 0.1; exit 0").stdout))
    first.release()
    second = daemon.leased()
    stream = second.exec(LEAVE + "sleep 0.1; echo begun; exec sleep 300")
    stream.await_output("begun\n")
    left = procs.Watch(int(next(word for word in stream.stdout.split() if word != b"begun")))
    second.close()
    daemon.log.find(r"reclaim lease=\d+ .*swept=1 remaining=0 sweep=done")
    left.await_gone()
    assert logins(bare) == 1 and not kept.gone()
    kept.kill()


@pytest.fixture
def open_dir():
    """That the account may read and write in, too."""
    with tempfile.TemporaryDirectory(prefix="sshlease-test.") as path:
        os.chmod(path, 0o777)
        yield pathlib.Path(path)


def test_a_shell_that_greets_on_standard_error_does_not_hold_the_sweep_up(make_daemon, make_sshd, target, open_dir):
    # bash reads BASH_ENV where no .bashrc is read: a greeting in either comes before everything else.
    greeting = open_dir / "greeting"
    greeting.write_text("echo welcome >&2\n")
    os.chmod(greeting, 0o644)
    server = make_sshd(f"SetEnv BASH_ENV={greeting} SHLVL=2")
    daemon = make_daemon({"targets": {"t": target(server, max_connections=1, **FAST)}})
    with daemon.leased() as client:
        stream = client.exec(LEAVE + "exec sleep 300")
        stream.await_output("\n")
        left = procs.Watch(int(stream.stdout))
        stream.await_output("welcome\n", fd=1)
    left.await_gone(5)
    daemon.log.find(r"reclaim .*sweep=done")


@pytest.mark.parametrize("by, forced", [
    ("server", "cat >>{}"), ("key", "tee {}"), ("key", 'echo "$SSH_ORIGINAL_COMMAND"; cat >>{}')])
def test_a_server_that_forces_a_command_is_fed_no_script(make_daemon, make_sshd, target, open_dir, by, forced):
    """Not even one that repeats what it is asked for, or told."""
    fed = open_dir / "fed"
    fed.write_bytes(b"")
    fed.chmod(0o666)
    command = forced.format(fed)
    server = make_sshd(*([f"ForceCommand {command}"] if by == "server" else []))
    if by == "key":
        with open(server.authorized_keys, "r+", encoding="ascii") as f:
            keys = f.read().splitlines()
            f.seek(0)
            quoted = command.replace('"', '\\"')
            f.write("".join(f'command="{quoted}" {key}\n' for key in keys))
    daemon = make_daemon({"targets": {"t": target(server, max_connections=1, **FAST)}})
    with daemon.leased() as client:
        client.exec("ignored").await_opened()
    daemon.log.find(r"reclaim .*sweep=none .*the server runs no POSIX shell|reclaim .*does not answer as a POSIX shell", timeout=20)
    assert fed.read_bytes() == b""


def test_a_connection_serves_as_many_commands_as_the_target_says(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, max_connections=1, max_uses=2)}})
    for _ in range(2):
        with daemon.leased() as client:
            for number in range(3):  # the third goes on with another connection, the lease is the same
                assert client.run(f"echo {number}").stdout == b"%d\n" % number
            client.release()
    daemon.await_connections(leased=0, closing=0)
    assert logins(server) == 3
    assert daemon.log.matches(r"conn=\S+ .*leased -> closing reason=spent")


def test_what_a_lease_has_left_on_an_earlier_connection_is_ended_with_it(make_daemon, make_sshd, target):
    daemon = make_daemon({"targets": {"t": target(make_sshd(), max_connections=1, max_uses=1, **FAST)}})
    with daemon.leased() as client:
        left = procs.Watch(int(client.run(LEAVE).stdout))
        assert client.run("echo on another connection").stdout == b"on another connection\n"
        assert not left.gone()
        client.exec("exec sleep 60").await_opened()
    left.await_gone()
    daemon.log.find(r"reclaim .*swept=[12] remaining=0 sweep=done")


def test_a_lease_whose_connection_is_lost_before_its_first_command_goes_on(make_daemon, make_sshd, target):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, max_connections=1)}})
    with daemon.leased() as client:
        assert logins(server) == 1
        if os.geteuid() == 0:  # the process that has the socket is made after the login
            server.log.find("User child is on pid")
        for session in server.sessions():
            os.kill(session, 9)
        until(lambda: logins(server) >= 2, "a second login")
        assert client.run("echo here").stdout == b"here\n"
        client.release()
    assert daemon.log.matches(r"granted -> moving reason=connection-lost")


def test_a_session_at_a_time_is_learned_and_costs_nobody_half_a_minute(make_daemon, make_sshd, target):
    daemon = make_daemon({"targets": {"t": target(make_sshd("MaxSessions 1"), max_connections=1)}})
    for number in range(5):
        with daemon.leased() as client:
            assert client.run(f"echo {number}").stdout == b"%d\n" % number
            client.release()


@pytest.mark.root  # an account for each login shell
@pytest.mark.parametrize("shell,package", [("/bin/tcsh", "tcsh"), ("/usr/bin/fish", "fish"), ("/bin/dash", "dash")])
def test_the_sweep_runs_whatever_the_login_shell_is(make_daemon, keys, target, shell, package):
    if not os.path.exists(shell):
        pytest.skip(f"{package} is not installed")
    with account.with_shell(shell) as entry:
        server = sshd_module.Sshd(keys, entry)
        try:
            daemon = make_daemon({"targets": {"t": target(server, max_connections=1, **FAST)}})
            with daemon.leased() as client:
                stream = client.exec("/bin/sh -c '" + LEAVE.replace("'", "'\\''") + "exec sleep 300'")
                stream.await_output("\n")
                left = procs.Watch(int(stream.stdout))
            left.await_gone()
            daemon.log.find(r"reclaim .*swept=1 remaining=0 sweep=done")
            daemon.stop()
        finally:
            server.stop()
