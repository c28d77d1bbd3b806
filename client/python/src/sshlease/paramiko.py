"""paramiko's shape, for programs that exist already. They change one import:

    from sshlease import paramiko                 # was: import paramiko

    client = paramiko.SSHClient()
    client.connect("web1")
    stdin, stdout, stderr = client.exec_command("uname -a")

**Which target.** connect(hostname) leases the target `hostname`. With a username, or a port other than 22, it asks for
`username@hostname:port` first, which a daemon of the user's own takes without any configuration; where there is no such
target, it asks for the target `hostname` of the daemon's configuration. That decides about the port, and about the user: one
that logs in as another than `username` is not leased, but an error.

**What is ignored**, for the daemon logs in, not this program: password, pkey, key_filename, passphrase, allow_agent,
look_for_keys, compress, gss_*, disabled_algorithms, the other timeouts. So are host-key policies and host-key files: the
daemon always checks host keys, against the target's known_hosts; no program that leases can talk it out of that. `timeout`
is how long to wait for a lease. `sock` is refused: it would be another way to the server than the daemon's.

**What it raises** is caught by what the program has for paramiko: each exception is a SshleaseError and a SSHException (or
AuthenticationException, BadHostKeyException).

open_sftp() gives paramiko's own SFTPClient, over a subsystem of the lease; it needs paramiko installed, as do the names that
are not defined here, which come from it. Nothing else does.
"""

from __future__ import annotations

import importlib
from typing import Any, Dict, List, Optional, Tuple, Type

from ._channel import Channel, ChannelFile, ChannelStdinFile
from ._errors import AuthenticationError, HostKeyError, SshleaseError
from ._history import History
from ._lease import Lease

_NO_TARGET = 20
_CHANGED_OR_REVOKED = (56, 57)

try:
    _real: Any = importlib.import_module("paramiko")
except ImportError:
    _real = None

if _real is not None:
    SSHException: Type[Exception] = _real.SSHException
    AuthenticationException: Type[Exception] = _real.AuthenticationException
    BadHostKeyException: Type[Exception] = _real.BadHostKeyException
else:
    class _SSHException(Exception):
        """What paramiko calls its failures."""

    class _AuthenticationException(_SSHException):
        pass

    class _BadHostKeyException(_SSHException):
        pass

    SSHException = _SSHException
    AuthenticationException = _AuthenticationException
    BadHostKeyException = _BadHostKeyException

_both: Dict[Tuple[type, type], Type[Exception]] = {}


def _translated(error: SshleaseError) -> Exception:
    """The same error, caught as either family's."""
    theirs = SSHException
    if isinstance(error, AuthenticationError):
        theirs = AuthenticationException
    elif isinstance(error, HostKeyError) and error.code in _CHANGED_OR_REVOKED:
        theirs = BadHostKeyException
    ours = type(error)
    if (ours, theirs) not in _both:
        _both[ours, theirs] = type(ours.__name__, (ours, theirs), {"__module__": __name__, "__doc__": ours.__doc__})
    kind = _both[ours, theirs]
    # Without their __init__(): some want keys, which only the daemon has seen.
    both = kind.__new__(kind)
    both.args = error.args
    both.__dict__.update(error.__dict__, hostname=error.target)
    return both


class MissingHostKeyPolicy:
    """There for programs to pass; the daemon decides about host keys."""

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        """Never called."""


class AutoAddPolicy(MissingHostKeyPolicy):
    pass


class RejectPolicy(MissingHostKeyPolicy):
    pass


class WarningPolicy(MissingHostKeyPolicy):
    pass


class Transport:
    """What programs ask a client's transport for."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def is_active(self) -> bool:
        return not self._lease.over

    is_authenticated = is_active

    def open_session(self, window_size: Optional[int] = None, max_packet_size: Optional[int] = None,
                     timeout: Optional[float] = None) -> Channel:
        return Channel(self._lease, _translated, self)

    def open_channel(self, kind: str, *_: Any, **__: Any) -> Channel:
        if kind != "session":
            raise _translated(SshleaseError(f"a lease has no channels of kind {kind!r}", target=self._lease.target, code=2))
        return self.open_session()

    def set_keepalive(self, interval: int) -> None:
        """The daemon keeps the connection alive."""

    def close(self) -> None:
        self._lease.close()


class SSHClient:
    def __init__(self) -> None:
        self._lease: Optional[Lease] = None
        self.target = ""           # what is leased, or was last
        self.history = History()   # what was run under that

    def load_system_host_keys(self, filename: Optional[str] = None) -> None:
        """Does nothing: the daemon checks host keys, against the target's known_hosts."""

    def load_host_keys(self, filename: str) -> None:
        """Does nothing, for the same reason."""

    def save_host_keys(self, filename: str) -> None:
        """Does nothing: there are none."""

    def set_missing_host_key_policy(self, policy: Any) -> None:
        """Does nothing: the daemon decides, and no program can make it accept a host key that is not known."""

    def set_log_channel(self, name: str) -> None:
        """Does nothing: the daemon has the log."""

    def connect(self, hostname: str, port: int = 22, username: Optional[str] = None, password: Optional[str] = None,
                pkey: Any = None, key_filename: Any = None, timeout: Optional[float] = None, allow_agent: bool = True,
                look_for_keys: bool = True, compress: bool = False, sock: Any = None, *,
                lease_timeout: Optional[float] = None, label: Optional[str] = None, socket: Optional[str] = None,
                autostart: bool = False, **ignored: Any) -> None:
        """Leases a connection; see above for which, and for what is ignored. What paramiko does not know (lease_timeout,
        label, socket, autostart) is as for sshlease.lease()."""
        if sock is not None:
            raise ValueError("connect(sock=…): the daemon connects; give the target a proxy in its configuration")
        self.close()
        names = _names(hostname, port, username)
        for name in names:
            try:
                self._lease = Lease(name, timeout=timeout, lease_timeout=lease_timeout, label=label, socket=socket,
                                    autostart=autostart)
                self.target, self.history = name, self._lease.history
                return
            except SshleaseError as e:
                if e.code != _NO_TARGET or name == names[-1]:
                    raise _translated(e) from e

    def get_transport(self) -> Optional[Transport]:
        """None unless connected."""
        return None if self._lease is None else Transport(self._lease)

    def _session(self) -> Channel:
        if self._lease is None:
            raise _translated(SshleaseError("SSH session not active: connect() first", code=30))
        return Transport(self._lease).open_session()

    def exec_command(self, command: str, bufsize: int = -1, timeout: Optional[float] = None, get_pty: bool = False,
                     environment: Optional[Dict[str, str]] = None) -> Tuple[ChannelStdinFile, ChannelFile, ChannelFile]:
        """Starts a command: its stdin, stdout and stderr. `timeout`: seconds that reading and writing may wait, then
        socket.timeout. All three (or stdin.channel) gone, the command is ended on the far side."""
        channel = self._session()
        if get_pty:
            channel.get_pty()
        channel.settimeout(timeout)
        channel.update_environment(environment or {})
        channel.exec_command(command)
        return channel.makefile_stdin("wb", bufsize), channel.makefile("r", bufsize), channel.makefile_stderr("r", bufsize)

    def invoke_shell(self, term: str = "vt100", width: int = 80, height: int = 24, width_pixels: int = 0,
                     height_pixels: int = 0, environment: Optional[Dict[str, str]] = None) -> Channel:
        """Starts the login shell on a terminal."""
        channel = self._session()
        channel.get_pty(term, width, height, width_pixels, height_pixels)
        channel.update_environment(environment or {})
        channel.invoke_shell()
        return channel

    def open_sftp(self) -> Any:
        """paramiko's own SFTPClient. ImportError where paramiko is not installed."""
        if _real is None:
            raise ImportError("open_sftp() needs paramiko, whose SFTPClient it is: install python3-paramiko",
                              name="paramiko")
        channel = self._session()
        channel.invoke_subsystem("sftp")
        return _real.SFTPClient(channel)

    def close(self) -> None:
        """Gives the connection back."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def __enter__(self) -> "SSHClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _names(hostname: str, port: int, username: Optional[str]) -> List[str]:
    """The targets to ask for, in this order."""
    host = f"[{hostname}]" if ":" in hostname else hostname
    configured = hostname if username is None else f"{username}@{host}"
    return [configured] if port == 22 else [(f"{username}@" if username is not None else "") + f"{host}:{port}", configured]


def __getattr__(name: str) -> Any:
    """The rest of paramiko, where it is installed: RSAKey, SFTPError, …"""
    if name.startswith("__") or _real is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}"
                             + ("" if name.startswith("__") else ", and paramiko is not installed"))
    return getattr(_real, name)
