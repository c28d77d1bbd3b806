# SPDX-License-Identifier: MIT
"""The plain account the private sshd logs in to. As root: `sshlease-system`, made on demand and removed by the last of
the parallel workers if it was made here; not the unit tests' account, for that one has no password. As anybody else:
that user."""

import contextlib
import fcntl
import os
import pwd
import secrets
import subprocess

NAME = "sshlease-system"
LOCKS = "/run/lock" if os.access("/run/lock", os.W_OK) else "/tmp"
MADE = os.path.join(LOCKS, "sshlease-system.made")  # there when the account was made here; holds its password


def _open(name):
    return os.open(os.path.join(LOCKS, name), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def plain():
    """Yields the account's passwd entry."""
    if os.geteuid() != 0:
        yield pwd.getpwuid(os.geteuid())
        return
    door = _open("sshlease-system.door")    # held exclusively while making or removing
    users = _open("sshlease-system.users")  # held shared by everyone who uses the account
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                pwd.getpwnam(NAME)
            except KeyError:
                subprocess.run(["useradd", "-m", "-s", "/bin/bash", NAME], check=True)
                # A random password, which the tests of passwords find in a file that only root can read. (Without any,
                # the account would be locked, which sshd refuses.)
                secret = secrets.token_hex(16)
                hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=secret, capture_output=True,
                                        text=True, check=True).stdout.strip()
                subprocess.run(["usermod", "-p", hashed, NAME], check=True)
                with open(os.open(MADE, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as f:
                    f.write(secret)
        finally:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield pwd.getpwnam(NAME)
    finally:
        fcntl.flock(door, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(MADE):
                subprocess.run(["userdel", "-r", NAME], check=False, capture_output=True)
                os.unlink(MADE)
        except BlockingIOError:
            pass  # others still use it
        finally:
            os.close(users)
            os.close(door)


@contextlib.contextmanager
def with_shell(shell):
    """Yields the passwd entry of an account of the test's own, with that login shell. As root only."""
    name = f"sshlease-{os.path.basename(shell)}-{os.getpid()}"
    subprocess.run(["useradd", "-m", "-s", shell, "-p", "*", name], check=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", "-r", name], check=False, capture_output=True)


def password():
    """The account's, or None where it is not ours."""
    try:
        with open(MADE, encoding="ascii") as f:
            return f.read()
    except OSError:
        return None
