# SPDX-License-Identifier: MIT
"""What a client that means harm can do to the others: nothing. It is a user of its own (where the tests are root), the
daemon another one's; while it attacks, somebody else is answered within a second. Where each attack is tested:

  descriptors whose close lingers, by themselves, nested, too many, unread         test_a_descriptor_whose_close_lingers
  files whose close, read or attributes are never answered (FUSE)                  test_a_file_whose_close_hangs and those below it
  pipes, sockets and files that are locked by a reader that never comes back       test_input_that_is_locked
  terminals that wait when they are not to; line disciplines that change           test_output_to_a_terminal…, floods: discipline
  locks on directories that others may read                                        test_locked_directories…
  a mux socket, or its directory, that cannot be made                              test_a_mux_…
  more clients, descriptors, memory, waiters than one is to have                   floods: idle, partial, fat, queued, trickle; test_quota
  threads kept busy                                                                test_too_many_files…, floods: hung-files; unit net.fd_jobs
  STATUS that is not read, forwards with long names                                floods: status-unread, long-forwards
  many small messages of each kind, valid and not                                  floods: native…, mux…; unit net.turns, fuzz
  requests that are refused, each a line in the log; a log that nobody reads       floods: refused, mux-refused; test_log; unit base.log
  what ends on a terminal or in the log                                            test_what_a_client_says_of_itself…
  files whose content depends on who reads                                         test_passed_procfs
  input a byte at a time for a command that does not read                          floods: drops; unit ssh.streams
  ports of the server's that lead where the client may not go                      test_permit
  a right that was taken away                                                      test_allow; unit lease.allow, sim
  a login that is tried more often than need be; a secret that is sent twice       test_logins, test_auth; unit ssh.login
  another user than the target's, by ssh's own words                               test_mux, test_mux_config
  what a lease left behind where a forced command is in the way of the clean-up    test_reclaim
  known_hosts that cannot be read, keys that others can                            test_hostkeys, unit ssh.hostkey
  an exit status that is none, extended data of unknown types, a lease that moves  unit front.mux, ssh.streams, lease.sharing
  what ssh never asks for at one socket                                            test_requests_that_do_not_go_together
  the unit's limits                                                                systemd/check-units

(floods: test_hostile_floods.py, by the name of its attack.)"""

import os
import pwd
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


@pytest.mark.parametrize("name", ["two-sessions", "two-users"])
def test_requests_that_do_not_go_together(make_daemon, sshd, target, mux_directory, attack, name):
    """Of what one request frees, the other has something."""
    everybody = {"users": [pwd.getpwuid(os.geteuid()).pw_name, ATTACKER.pw_name]}
    daemon = make_daemon({"mux": {"directory": str(mux_directory)}, "limits": {"streams": 1},
                          "targets": {"t": target(sshd, allow=everybody, max_connections=2),
                                      "gone": {**target(sshd, allow=everybody), "port": 1}}})
    attack(name, os.path.join(mux_directory, "gone" if name == "two-sessions" else "t")).hear("attacked")
    assert daemon.cli("exec", "t", "--", "echo in", timeout=20).stdout == b"in\n"


@pytest.mark.root
@pytest.mark.parametrize("end", ["slave", "master"])
@pytest.mark.parametrize("way", ["cleared", "toggled"])
def test_output_to_a_terminal_that_its_owner_makes_blocking(victim, attack, end, way):
    """Whether a description waits is a flag of all who share it."""
    attack("terminal-output", victim.path, end, way).hear("attacked")
    assert_serves(victim)
    assert victim.cli("exec", "t", "--", "echo in", timeout=20).stdout == b"in\n"


ODD = [b"\xc2\x9b31m", b"\x9b31m", b"\xff\xfe", b"\x1b[31m", b"a\r\nb", b"\xe2\x80\xae", b"\xed\xa0\x80", b"x" * 255]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:8].hex())
def test_what_a_client_says_of_itself_controls_no_terminal_and_no_log(victim, odd):
    with native.Client(victim.path, hello=False) as client:
        client.send("HELLO", magic=native.MAGIC, version_min=1, version_max=1, program=odd)
        client.answer("WELCOME")
        client.send("ACQUIRE", rid=1, target=odd, acquire_timeout_ms=0, lease_timeout_ms=0, label=odd)
        assert client.answer("ERROR").code == next(code for code, name in native.CODES.items() if name == "no-target")
        client.acquire("t", label=odd)
        shown = victim.cli("status").stdout + victim.cli("status", "--json").stdout
        assert_fit_to_show(shown)
        victim.cli("end", client.lease)
        client.pump(lambda: client.ended)
    with open(victim.log.path, "rb") as f:
        assert_fit_to_show(f.read())


def assert_fit_to_show(data):
    text = data.decode()
    assert not [char for char in text if char != "\n" and not char.isprintable()], text


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
