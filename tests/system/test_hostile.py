# SPDX-License-Identifier: MIT
"""What a client that means harm can do to the others: nothing. It is a user of its own (where the tests are root), the
daemon another one's; while it attacks, somebody else is answered within a second."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time

import pytest

import daemon as daemon_module
import fusefs
import native
from waiting import until

HERE = os.path.dirname(os.path.abspath(__file__))
IS_ROOT = os.geteuid() == 0
ANSWER_S = 10.0 if daemon_module.is_sanitized() else 1.0


@pytest.fixture
def mux_directory(tmp_path_factory):
    """One that everybody may look into."""
    directory = tmp_path_factory.mktemp("m")
    for part in (directory, *directory.parents):
        if os.stat(part).st_uid == os.geteuid():
            os.chmod(part, os.stat(part).st_mode | 0o055)
    return directory


@pytest.fixture
def victim(make_daemon, sshd, target, mux_directory):
    """A daemon with a native and a mux socket; `t` can be leased by the attacker, too."""
    everybody = {"users": [pwd.getpwuid(os.geteuid()).pw_name, "nobody"]}
    return make_daemon({"mux": {"directory": str(mux_directory)},
                        "targets": {"t": target(sshd, allow=everybody, max_connections=2)}})


@pytest.fixture
def attack():
    """attack(NAME, SOCKET, FILE) starts hostile.py as nobody and answers its process."""
    processes = []

    def start(*words):
        command = [sys.executable, os.path.join(HERE, "hostile.py"), *words]
        if IS_ROOT:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        processes[-1].lines = fusefs.Lines(processes[-1].stdout)
        return processes[-1]
    yield start
    for process in processes:
        process.kill()
        process.wait(20)
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def hanging(attack):
    """hanging(OPCODE …) is a file system of the attacker's that does not answer those. It goes first: then the attacker
    and the daemon can end."""
    assert attack
    systems = []

    def make(*opcodes):
        systems.append(fusefs.HangingFs(pwd.getpwnam("nobody").pw_uid, opcodes))
        return systems[-1]
    yield make
    for one in systems:
        one.stop()


def await_attacked(process, line="attacked"):
    said = process.lines.next()
    assert said == line, f"the attacker said {said!r}"


def go_on(process):
    process.stdin.write(b"\n")
    process.stdin.flush()


def descriptors(pid):
    """What the process's descriptors are called."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def assert_serves(daemon, times=3):
    """Somebody else is answered at once, time and again."""
    for _ in range(times):
        begun = time.monotonic()
        with native.Client(daemon.path, timeout=ANSWER_S) as client:
            client.status()
        assert time.monotonic() - begun < ANSWER_S


def socket_of(daemon, kind):
    return daemon.path if kind == "native" else os.path.join(daemon.config["mux"]["directory"], "t")


@pytest.mark.parametrize("kind", ["native", "mux"])
@pytest.mark.parametrize("name", ["linger", "nested", "surplus", "unread"])
def test_a_descriptor_whose_close_lingers(victim, attack, kind, name):
    victim.signal(signal.SIGSTOP)  # until the attacker has closed its own: the last close is to be the daemon's
    attacker = attack(name, socket_of(victim, kind))
    await_attacked(attacker)
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
    await_attacked(attacker, "passed")
    until(lambda: files.path in descriptors(victim.pid), "the daemon has the file")
    go_on(attacker)
    await_attacked(attacker)
    files.await_ignored(fusefs.FLUSH)  # a thread of the daemon's hangs in it now
    assert_serves(victim)


@pytest.mark.root
def test_too_many_files_whose_closes_hang(victim, attack, hanging):
    """Their user is refused, with a reason; nobody else is. When they are closed at last it is served again."""
    files = hanging(fusefs.FLUSH)
    attacker = attack("drop-many", victim.path, files.path)
    code = next(code for code, name in native.CODES.items() if name == "limit")
    await_attacked(attacker, f"told {code}")
    assert_serves(victim)
    assert victim.log.matches("passed earlier cannot be closed")
    assert victim.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    before = len(descriptors(victim.pid))
    refused = victim.cli("status", user=pwd.getpwnam("nobody"))
    assert refused.returncode != 0 and b"passed earlier cannot be closed" in refused.stderr, refused
    until(lambda: len(descriptors(victim.pid)) <= before, "what was refused is gone")
    files.stop()
    until(lambda: victim.cli("status", user=pwd.getpwnam("nobody")).returncode == 0, "nobody is served again")


@pytest.mark.root
def test_input_from_a_file_that_does_not_answer(victim, attack, hanging):
    files = hanging(fusefs.READ, fusefs.FLUSH)
    await_attacked(attack("input-file", victim.path, files.path))
    files.await_ignored(fusefs.READ)
    assert_serves(victim)
    assert victim.cli("exec", "t", "--", "echo in", timeout=20).stdout == b"in\n"


@pytest.mark.root
def test_a_sessions_input_from_a_file_that_does_not_say_what_it_is(victim, attack, hanging):
    files = hanging(fusefs.GETATTR)
    await_attacked(attack("session-input", socket_of(victim, "mux"), files.path))
    until(lambda: victim.status()["leases"], "the attacker's lease")
    assert_serves(victim)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["file", "pipe", "unix", "tcp"])
def test_input_that_is_locked(victim, attack, hanging, kind):
    """The kernel has a lock on what is read while it copies into the reader's memory, which the attacker's file is."""
    files = hanging(fusefs.READ)
    attacker = attack("locked", victim.path, files.path, kind)
    await_attacked(attacker, "holding")
    files.await_ignored(fusefs.READ)  # the lock is taken
    go_on(attacker)
    await_attacked(attacker)
    until(lambda: any(lease["streams"] for lease in victim.status()["leases"]), "the daemon reads it")
    assert_serves(victim)
    assert victim.cli("exec", "t", "--", "echo in", timeout=20).stdout == b"in\n"
    assert_serves(victim)


def lock_with_flock(directory):
    """As anybody can who may read it."""
    words = ["flock", "--no-fork", str(directory), "sh", "-c", "echo locked; exec sleep infinity"]
    if IS_ROOT:
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
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
