# SPDX-License-Identifier: MIT
"""Finding the daemon's socket and connecting to it."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
import time
from typing import Optional, Union

from ._errors import INVALID, IO, NO_DAEMON, TIMEOUT, NoDaemon, SshleaseError, error_for, hidden, no_daemon

__tracebackhide__ = hidden

SYSTEM_SOCKET = "/run/sshleased/sshleased.sock"
# Where systemd-logind makes the users' directories.
USERS_DIRECTORY = "/run/user"
_PATH_MAX = 107
# Where a daemon has ended that is succeeded by another, that one is waited for so long.
LEFT_SECONDS = 5.0
# How long the daemon may take to accept a connection: it does nothing that blocks.
CONNECT_SECONDS = 10.0


def user_socket() -> Optional[str]:
    """Where a daemon of the user's own listens unless told otherwise: in $XDG_RUNTIME_DIR, or where that is not set, as
    under cron and su, in the directory that it would name. None where there is none."""
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    runtime = named if named.startswith("/") else os.path.join(USERS_DIRECTORY, str(os.geteuid()))
    return os.path.join(runtime, "sshleased.sock") if runtime == named or os.path.isdir(runtime) else None


def default_socket() -> str:
    """$SSHLEASE_SOCKET, else $XDG_RUNTIME_DIR/sshleased.sock (/run/user/UID/ without that variable) where that exists, else
    /run/sshleased/sshleased.sock."""
    named = os.environ.get("SSHLEASE_SOCKET")
    if named:
        return named
    own = user_socket()
    return own if own and (os.path.exists(own) or left_seconds(own) < LEFT_SECONDS) else SYSTEM_SOCKET


def left_seconds(path: str) -> float:
    """How long ago a daemon that is succeeded by another has ended at `path`: it leaves a file that says so."""
    directory, name = os.path.split(path)
    try:
        ago = time.time() - os.lstat(os.path.join(directory, f".sl-{name}.left")).st_mtime
    except OSError:
        return float("inf")
    return ago if ago >= 0 else float("inf")


def socket_for(named: Union[str, "os.PathLike[str]", None], own: bool, target: str = "") -> str:
    """The socket at `named`; None: default_socket(), or, with `own`, where the user's own daemon listens or would listen,
    whatever the system has. NoDaemon where no place is known for that."""
    if named is not None and named != "":
        if not isinstance(named, (str, os.PathLike)):
            raise TypeError(f"socket is {named!r}; it may be the path of the daemon's socket")
        return os.fspath(named)
    if own and not os.environ.get("SSHLEASE_SOCKET"):
        path = user_socket()
        if path is None:
            raise NoDaemon("there is no place for a sshleased of your own: neither XDG_RUNTIME_DIR nor SSHLEASE_SOCKET says "
                           "where its socket goes", target=target, code=NO_DAEMON, unsent=True)
        return path
    return default_socket()


def connect(path: str, target: str = "") -> socket.socket:
    """A connected, close-on-exec socket. NoDaemon when nobody listens; SshleaseError for the rest."""
    deadline = time.monotonic() + CONNECT_SECONDS
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        error = errno.EINTR
        while error == errno.EINTR:
            # A full backlog makes connect() wait, for as long as the kernel lets a send wait.
            left = max(0.001, deadline - time.monotonic())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(left), int(left % 1 * 1e6)))
            error = attempt(sock, path, target)
        if error:
            raise failed(error, path, target)
    except BaseException:
        sock.close()
        raise
    return sock


def attempt(sock: socket.socket, path: str, target: str) -> int:
    """One connect(2); its errno, 0 when the socket is connected."""
    size = len(os.fsencode(path))
    if not 0 < size <= _PATH_MAX:
        raise error_for(INVALID, f"the socket's path has {size} bytes; it may have 1 to {_PATH_MAX}", target=target,
                        unsent=True)
    error = sock.connect_ex(path)
    return 0 if error == errno.EISCONN else error


def _group_of(path: str) -> str:
    """Whom the socket is for. A group that was joined since the login is in the database, but not yet ours."""
    try:
        status = os.stat(path)
        if status.st_mode & 0o060 != 0o060:
            return ""
        text = f", which is for the group {grp.getgrgid(status.st_gid).gr_name}"
        user = pwd.getpwuid(os.geteuid())
        if status.st_gid in (os.getegid(), *os.getgroups()) or status.st_gid not in os.getgrouplist(user.pw_name, user.pw_gid):
            return text
        return f"{text} (you are in it from your next login on)"
    except (OSError, KeyError):
        return ""


def failed(error: int, path: str, target: str) -> SshleaseError:
    """What an errno of connect(2) means."""
    if error in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return no_daemon(path, target)
    if error == errno.EPROTOTYPE:
        return error_for(NO_DAEMON, f"{path} is not sshleased's socket", target=target, unsent=True)
    if error in (errno.EACCES, errno.EPERM):
        # The system's daemon, which nobody has named: there is none for this user, then.
        if path == SYSTEM_SOCKET:
            return no_daemon(path, target, f"no permission to connect to {path}{_group_of(path)}")
        return error_for(5, f"no permission to connect to {path}{_group_of(path)}", target=target, unsent=True)
    if error == errno.EAGAIN:
        return error_for(TIMEOUT, f"sshleased at {path} does not accept connections in time", target=target, unsent=True)
    return error_for(IO, f"cannot connect to {path}: {os.strerror(error)}", target=target, unsent=True)
