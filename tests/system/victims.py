# SPDX-License-Identifier: MIT
"""Who is attacked, who attacks, and who is beside it: the fixtures of the tests of hostile clients. The attacker is a user
of its own where the tests are root."""

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

import daemon as daemon_module
import fusefs
import native

HERE = os.path.dirname(os.path.abspath(__file__))
IS_ROOT = os.geteuid() == 0
ATTACKER = pwd.getpwnam("nobody")
ANSWER_S = 10.0 if daemon_module.is_sanitized() else 1.0


@contextlib.contextmanager
def open_directory(name):
    """One that everybody may look into. Not pytest's: what those are in it closes to others with each of its runs."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"sshlease-{name}."))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def mux_directory():
    with open_directory("mux") as directory:
        yield directory


@pytest.fixture
def victim(make_daemon, sshd, target, mux_directory):
    """A daemon with a native and a mux socket; `t` can be leased by the attacker, too."""
    everybody = {"users": [pwd.getpwuid(os.geteuid()).pw_name, ATTACKER.pw_name]}
    return make_daemon({"mux": {"directory": str(mux_directory)},
                        "targets": {"t": target(sshd, allow=everybody, max_connections=2)}})


def as_other(user, words):
    """The command line by which root runs `words` as another user, without any group."""
    if not IS_ROOT:
        return words
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *words]


class Child:
    """A program of these tests that runs as another user; it says lines, and hears some."""

    def __init__(self, user, name, *words, nice=0):
        command = ["nice", "-n", str(nice), sys.executable, os.path.join(HERE, name), *map(str, words)]
        self.process = subprocess.Popen(as_other(user, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.lines = fusefs.Lines(self.process.stdout)

    def say(self, line=""):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, line, timeout=20.0):
        said = self.lines.next(timeout)
        assert said == line, f"the attacker said {said!r}"

    def stop(self):
        self.process.kill()
        self.process.wait(20)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def attack():
    """attack(NAME, SOCKET, FILE) starts hostile.py as the attacker and answers its process."""
    children = []

    def start(*words):
        children.append(Child(ATTACKER, "hostile.py", *words))
        return children[-1]
    yield start
    for child in children:
        child.stop()


@pytest.fixture
def hanging(attack):
    """hanging(OPCODE …) is a file system of the attacker's that does not answer those. It goes first: then the attacker
    and the daemon can end."""
    assert attack
    systems = []

    def make(*opcodes):
        systems.append(fusefs.HangingFs(ATTACKER.pw_uid, opcodes))
        return systems[-1]
    yield make
    for one in systems:
        one.stop()


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
