# SPDX-License-Identifier: MIT
"""What a client that means harm can do to the others: nothing. It is a user of its own (where the tests are root), the
daemon another one's; while it attacks, somebody else is answered within a second."""

import os
import signal
import subprocess
import time

import pytest

import fusefs
import native
from victims import ANSWER_S, ATTACKER, as_other, assert_serves, descriptors, socket_of
from waiting import until


@pytest.mark.parametrize("kind", ["native", "mux"])
@pytest.mark.parametrize("name", ["linger", "nested", "surplus", "unread", "urgent"])
def test_a_descriptor_whose_close_lingers(victim, attack, kind, name):
    victim.signal(signal.SIGSTOP)  # until the attacker has closed its own: the last close is to be the daemon's
    attacker = attack(name, socket_of(victim, kind))
    attacker.hear("attacked")
    victim.signal(signal.SIGCONT)
    assert_serves(victim)
    # None is left behind, though the attacker's other ends are still there.
    until(lambda: not inet_sockets(victim.pid), lambda: f"closed sockets: {inet_sockets(victim.pid)}")


def inet_sockets(pid):
    """The process's descriptors that are TCP connections with something to send."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        busy = {line.split()[9] for line in f.readlines()[1:] if not line.split()[4].startswith("00000000:")}
    return [what for what in descriptors(pid) if what.startswith("socket:[") and what[8:-1] in busy]


@pytest.mark.root
@pytest.mark.parametrize("kind", ["native", "mux"])
def test_a_file_whose_close_hangs(victim, attack, hanging, kind):
    files = hanging(fusefs.FLUSH)
    attacker = attack("drop-file", socket_of(victim, kind), files.path)
    attacker.hear("passed")
    until(lambda: files.path in descriptors(victim.pid), "the daemon has the file")
    attacker.say()
    attacker.hear("attacked")
    files.await_ignored(fusefs.FLUSH)  # a thread of the daemon's hangs in it now
    assert_serves(victim)


@pytest.mark.root
def test_too_many_files_whose_closes_hang(victim, attack, hanging):
    """Their user is refused, with a reason; nobody else is. When they are closed at last it is served again."""
    files = hanging(fusefs.FLUSH)
    attacker = attack("drop-many", victim.path, files.path)
    code = next(code for code, name in native.CODES.items() if name == "limit")
    attacker.hear(f"told {code}")
    assert_serves(victim)
    assert victim.log.matches("passed earlier cannot be closed")
    assert victim.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    before = len(descriptors(victim.pid))
    refused = victim.cli("status", user=ATTACKER)
    assert refused.returncode != 0 and b"passed earlier cannot be closed" in refused.stderr, refused
    until(lambda: len(descriptors(victim.pid)) <= before, "what was refused is gone")
    files.stop()
    until(lambda: victim.cli("status", user=ATTACKER).returncode == 0, "nobody is served again")


@pytest.mark.root
def test_input_from_a_file_that_does_not_answer(victim, attack, hanging):
    files = hanging(fusefs.READ, fusefs.FLUSH)
    attack("input-file", victim.path, files.path).hear("attacked")
    files.await_ignored(fusefs.READ)
    assert_serves(victim)
    assert victim.cli("exec", "t", "--", "echo in", timeout=20).stdout == b"in\n"


@pytest.mark.root
def test_a_sessions_input_from_a_file_that_does_not_say_what_it_is(victim, attack, hanging):
    files = hanging(fusefs.GETATTR)
    attack("session-input", socket_of(victim, "mux"), files.path).hear("attacked")
    until(lambda: victim.status()["leases"], "the attacker's lease")
    assert_serves(victim)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["file", "pipe", "unix", "tcp"])
def test_input_that_is_locked(victim, attack, hanging, kind):
    """The kernel has a lock on what is read while it copies into the reader's memory, which the attacker's file is."""
    files = hanging(fusefs.READ)
    attacker = attack("locked", victim.path, files.path, kind)
    attacker.hear("holding")
    files.await_ignored(fusefs.READ)  # the lock is taken
    attacker.say()
    attacker.hear("attacked")
    until(lambda: any(lease["streams"] for lease in victim.status()["leases"]), "the daemon reads it")
    assert_serves(victim)
    assert victim.cli("exec", "t", "--", "echo in", timeout=20).stdout == b"in\n"
    assert_serves(victim)


@pytest.mark.root
@pytest.mark.parametrize("end", ["slave", "master"])
@pytest.mark.parametrize("way", ["cleared", "toggled"])
def test_output_to_a_terminal_that_its_owner_makes_blocking(victim, attack, end, way):
    """Whether a description waits is a flag of all who share it."""
    attack("terminal-output", victim.path, end, way).hear("attacked")
    assert_serves(victim)
    assert victim.cli("exec", "t", "--", "echo in", timeout=20).stdout == b"in\n"


def lock_with_flock(directory):
    """As anybody can who may read it."""
    words = ["flock", "--no-fork", str(directory), "sh", "-c", "echo locked; exec sleep infinity"]
    process = subprocess.Popen(as_other(ATTACKER, words), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    return process


def test_locked_directories_stop_neither_start_nor_reload(make_daemon, sshd, target, mux_directory):
    config = {"mux": {"directory": str(mux_directory)}, "targets": {"t": target(sshd)}}
    daemon = make_daemon(config, start=False)
    lockers = [lock_with_flock(mux_directory), lock_with_flock(daemon.dir)]
    try:
        daemon.start()
        many = {f"t{i}": target(sshd) for i in range(40)}
        daemon.write_config({**config, "targets": many})
        begun = time.monotonic()
        with daemon.client() as client:
            client.reload()
        assert time.monotonic() - begun < 5 * ANSWER_S
        found = {name for name in os.listdir(mux_directory) if not os.path.islink(mux_directory / name)}
        assert found == set(many), "sockets, and no lock is left"
        assert_serves(daemon)
    finally:
        for locker in lockers:
            locker.kill()
            locker.wait()
            locker.stdout.close()


def test_a_mux_socket_that_cannot_be_made_is_its_targets_error(make_daemon, sshd, target, tmp_path_factory):
    directory = tmp_path_factory.mktemp("m")
    (directory / "bad").write_text("in the way")
    daemon = make_daemon({"mux": {"directory": str(directory)}, "targets": {"bad": target(sshd), "good": target(sshd)}})
    daemon.log.find(r"target=bad has no mux socket: .*/bad: exists and is not a socket")
    assert (directory / "good").is_socket()
    assert daemon.cli("exec", "bad", "--", "echo in").stdout == b"in\n"
    # When nothing is in the way any more, asking for it makes it.
    (directory / "bad").unlink()
    assert daemon.cli("mux-ensure", "bad").returncode == 0
    assert (directory / "bad").is_socket()


def test_a_mux_directory_that_cannot_be_used_stops_no_start(make_daemon, sshd, target, tmp_path_factory):
    directory = tmp_path_factory.mktemp("m") / "mux"
    directory.write_text("in the way")
    daemon = make_daemon({"mux": {"directory": str(directory)}, "targets": {"t": target(sshd)}})
    daemon.log.find("no target has a mux socket: .* is not a directory")
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    done = daemon.cli("mux-ensure", "t")
    assert done.returncode != 0 and b"is not a directory" in done.stderr, done
