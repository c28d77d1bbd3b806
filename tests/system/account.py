"""The plain account the private sshd logs in to. As root: `sshlease-test`, made on demand and removed by the last of the
parallel workers if it was made here. As anybody else: that user."""

import contextlib
import fcntl
import os
import pwd
import subprocess

NAME = "sshlease-test"
LOCKS = "/run/lock" if os.access("/run/lock", os.W_OK) else "/tmp"


def _open(name):
    return os.open(os.path.join(LOCKS, name), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def plain():
    """Yields the account's passwd entry."""
    if os.geteuid() != 0:
        yield pwd.getpwuid(os.geteuid())
        return
    made = os.path.join(LOCKS, "sshlease-test.made")
    door = _open("sshlease-test.door")    # held exclusively while making or removing
    users = _open("sshlease-test.users")  # held shared by everyone who uses the account
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                pwd.getpwnam(NAME)
            except KeyError:
                subprocess.run(["useradd", "-m", "-s", "/bin/bash", NAME], check=True)
                # "*" is no valid hash, so no password fits, yet the account is not locked, which sshd would refuse.
                subprocess.run(["usermod", "-p", "*", NAME], check=True)
                with open(made, "w", encoding="ascii"):
                    pass
        finally:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield pwd.getpwnam(NAME)
    finally:
        fcntl.flock(door, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(made):
                subprocess.run(["userdel", "-r", NAME], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                os.unlink(made)
        except BlockingIOError:
            pass  # others still use it
        finally:
            os.close(users)
            os.close(door)
