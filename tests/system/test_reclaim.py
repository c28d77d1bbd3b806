# SPDX-License-Identifier: MIT
"""The guarantee: however a lease ends but by a clean release, what ran under it is ended, its connection is closed, the
next waiter gets a fresh one, and the log says why."""

import contextlib
import os
import signal

import pytest

import native
import procs
from daemon import read_line
from holders import LEAVE
from waiting import until

FAST = {"kill_grace": "300ms"}


@pytest.fixture
def one(make_daemon, sshd, target):
    """A daemon with a target `t` of a single connection."""
    return make_daemon({"targets": {"t": target(sshd, max_connections=1, **FAST)}})


def server_pids(server):
    return sorted(server.sessions())


def test_killed_while_it_waits(one, hold):
    with one.leased() as first:
        waiter = hold(one, "t")
        assert waiter.line() == "asked"
        await_waiters(one, 1)
        waiter.kill()
        await_waiters(one, 0)
        assert first.run("echo fine").stdout == b"fine\n"
        first.release()
    assert one.leased().run("echo next").stdout == b"next\n"


def await_waiters(daemon, count):
    until(lambda: daemon.target()["waiters"] == count, f"{count} waiters", interval=0.02)


def test_killed_with_an_idle_lease(one, hold, sshd):
    holder = hold(one, "t")
    assert holder.line() == "asked" and holder.line() == "granted"
    before = server_pids(sshd)
    holder.kill()
    one.log.find(r"reason=client-gone")
    fresh = one.leased()
    assert fresh.run("echo fresh").stdout == b"fresh\n"
    assert not set(before) & set(server_pids(sshd)), "the connection was leased again"


COMMANDS = {
    "running": "echo $$; exec sleep 300",
    "streaming": "echo $$; exec cat /dev/zero",
    "reading": "echo $$; exec cat >/dev/null",
    "ignores TERM and HUP": "trap '' TERM HUP INT; echo $$; while :; do sleep 0.1; done",
    "has children": "sleep 301 & sleep 302 & echo $$; wait",
    "setsid and nohup": LEAVE + "exec sleep 300",
    "double fork, all left": "(setsid sh -c 'sleep 304 & sleep 305' >/dev/null 2>&1 </dev/null &); "
                             "while ! pgrep -f -u $(id -u) 'sleep 305' >/dev/null; do sleep 0.02; done; echo $$; sleep 300",
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_killed_while_a_command_is(one, hold, sshd, kind):
    holder = hold(one, "t", COMMANDS[kind])
    assert holder.line() == "asked" and holder.line() == "granted"
    watch = procs.Watch(int(holder.line()))
    assert not watch.gone()
    until(sshd.remote, "the command among the far side's processes")
    waiter = one.client()
    waiter.start_acquire("t")
    holder.kill()
    watch.await_gone()
    waiter.await_granted()
    assert waiter.run("echo served").stdout == b"served\n"
    waiter.release()
    sshd.await_nothing_remote(timeout=5)
    one.log.find(r"reason=client-gone")


@pytest.mark.parametrize("words", [["sleep", "306"], ["setsid", "sleep", "307"]], ids=["plain", "setsid"])
def test_killed_sshlease_exec(one, sshd, words):
    child = one.cli_start("exec", "t", "--", "echo", "begun;", *words)
    assert read_line(child.stdout) == "begun\n"
    until(sshd.remote, "the command")
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    sshd.await_nothing_remote()
    one.await_connections(leased=0, draining=0, closing=0)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["running", "streaming", "ignores TERM and HUP", "setsid and nohup"])
def test_a_root_login_is_swept(make_daemon, root_sshd, target, hold, kind):
    """sshd 9.2 refuses signals for a root login; the sweep needs none."""
    daemon = make_daemon({"targets": {"t": target(root_sshd, max_connections=1, **FAST)}})
    holder = hold(daemon, "t", COMMANDS[kind])
    assert holder.line() == "asked" and holder.line() == "granted"
    watch = procs.Watch(int(holder.line()))
    holder.kill()
    watch.await_gone()
    assert daemon.leased().run("echo next").stdout == b"next\n"
    root_sshd.await_nothing_remote()


def test_a_clean_release_leaves_alone_what_was_left_running(one, sshd):
    client = one.leased()
    stream = client.run(LEAVE)
    watch = procs.Watch(int(stream.stdout))
    client.release()
    again = one.leased()
    again.run("true")
    again.release()
    assert not watch.gone(), "a clean release ended what was left running on purpose"
    watch.kill()


def test_only_the_lease_s_own_processes_are_swept(one, sshd):
    """What an earlier lease left on the same connection is not the next one's to end."""
    client = one.leased()
    kept = procs.Watch(int(client.run(LEAVE).stdout))
    client.release()
    client.acquire("t")
    stream = client.exec(LEAVE + "exec sleep 300").await_opened()
    swept = procs.Watch(int(stream.await_output("\n")))
    client.close()
    swept.await_gone()
    one.await_connections(leased=0, draining=0, closing=0)
    assert not kept.gone(), "the sweep took what another lease had left on purpose"
    kept.kill()


def test_a_lease_runs_out(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1, **FAST)}})
    client = daemon.client()
    granted = client.acquire("t", lease_timeout_ms=700)
    assert granted.lease_timeout_ms <= 700
    stream = client.exec("echo $$; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "expired" and client.ended.lease == granted.lease
    watch.await_gone()
    daemon.log.find(r"reason=expired")
    # The socket can lease again.
    client.acquire("t")
    assert client.run("echo again").stdout == b"again\n"
    client.release()


def test_renewing_keeps_it_up_to_max_lease(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_lease="1500ms", lease_timeout="600ms", **FAST)}})
    client = daemon.client()
    granted = client.acquire("t")
    assert (granted.lease_timeout_ms, granted.max_lease_ms) == (600, 1500)
    left = []
    with contextlib.suppress(native.Error):  # no-lease, where the end crosses a request
        while not client.ended:
            left.append(client.renew().lease_timeout_ms)
            client.run("sleep 0.1")
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "expired"
    assert len(left) > 4 and left[0] >= 590 and left[-1] < 400


def test_an_operator_takes_a_lease_back(one):
    client = one.leased()
    stream = client.exec("echo $$; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    one.client().end(client.lease)
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "revoked"
    watch.await_gone()
    one.log.find(r"reason=revoked")
    with pytest.raises(native.Error) as e:
        one.client().end(client.ended.lease)
    assert e.value.name == "no-lease"


def test_a_release_with_a_running_command_is_a_reclaim(one, sshd):
    client = one.leased()
    stream = client.exec("echo $$; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    before = server_pids(sshd)
    client.release()
    watch.await_gone()
    client.acquire("t")
    assert client.run("echo fresh").stdout == b"fresh\n"
    assert not set(before) & set(server_pids(sshd))


def test_a_server_that_does_not_let_anything_be_ended_is_reported(make_daemon, make_sshd, target):
    """ForceCommand: no signals, and the sweep's command is not ours to choose."""
    server = make_sshd("ForceCommand exec /bin/sh -c 'echo $$; exec sleep 300'")
    daemon = make_daemon({"targets": {"t": target(server, max_connections=1, **FAST)}})
    client = daemon.leased()
    stream = client.exec("whatever").await_opened()
    int(stream.await_output("\n"))
    client.close()
    daemon.await_connections(timeout=30, leased=0, draining=0, closing=0)
    assert daemon.log.matches(r"(?i)(remain|unknown|sweep|not.*ended|could not)"), daemon.log.lines[-20:]


@pytest.mark.parametrize("cleanup", ["signal", "off"])
def test_remote_cleanup_can_be_less(make_daemon, make_sshd, target, cleanup):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, remote_cleanup=cleanup, **FAST)}})
    client = daemon.leased()
    stream = client.exec(LEAVE + "exec sleep 300").await_opened()
    left = procs.Watch(int(stream.await_output("\n")))
    plain = next(procs.Watch(pid) for pid in server.remote() if procs.cmdline(pid) == "sleep 300")
    client.close()
    daemon.await_connections(leased=0, draining=0, closing=0)
    if cleanup == "signal":
        plain.await_gone()
    assert not left.gone()


def test_a_hanging_client_loses_its_lease_and_nobody_else_is_hurt(make_daemon, sshd, target, hold):
    """SIGSTOP: the socket stays open, nothing is read from it."""
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1, lease_timeout="1s", **FAST)}})
    holder = hold(daemon, "t", COMMANDS["streaming"])
    assert holder.line() == "asked" and holder.line() == "granted"
    watch = procs.Watch(int(holder.line()))
    os.kill(holder.process.pid, signal.SIGSTOP)
    waiter = daemon.client()
    waiter.acquire("t")
    assert watch.gone(5)
    assert waiter.run("echo served").stdout == b"served\n"
    os.kill(holder.process.pid, signal.SIGCONT)


def test_without_a_sweep_the_whole_group_is_signalled(make_daemon, make_sshd, target):
    """A shell that writes must not be ended by what tells it that nobody reads: the others of its group would stay."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, remote_cleanup="signal", kill_grace="2s")}})
    client = daemon.leased()
    stream = client.exec("sleep 308 & echo $!; while :; do echo on; sleep 0.01; done").await_opened()
    child = procs.Watch(int(stream.await_output("\n").split()[0]))
    client.close()
    child.await_gone()
    daemon.await_connections(leased=0, draining=0, closing=0)


def test_a_lease_that_ends_between_two_connections_is_told_of(make_daemon, make_sshd, target):
    """Its command has ended, its connection was lost, and no other could be made."""
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, max_connections=1, **FAST)}})
    client = daemon.leased()
    stream = client.exec(LEAVE + "true").await_opened()
    left = procs.Watch(int(stream.await_output("\n")))
    stream.await_end()
    server.kill()
    daemon.log.find(r"reclaim lease=\d+ target=t reason=target-down .*cannot be found or ended")
    assert daemon.status()["counters"]["reclaim_incomplete"] == 1
    assert not left.gone()
