# SPDX-License-Identifier: MIT
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

**What is not here** raises NotHere, an AttributeError that names it and says why: forwards, agents, X11, servers, and what
belongs to the SSH connection itself, which is the daemon's.

open_sftp() gives paramiko's own SFTPClient, over a subsystem of the lease; it needs paramiko installed, as do the names that
are not defined here, which come from it. Nothing else does.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple, Type

from ._channel import WINDOW, Channel
from ._channel_file import ChannelFile, ChannelStderrFile, ChannelStdinFile
from ._common import SocketPath
from ._errors import AuthenticationError, HostKeyError, SshleaseError, hidden
from ._history import History
from ._lease import Lease
from ._not_here import NotHere, missing

__tracebackhide__ = hidden

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

__all__ = ["SSHClient", "Transport", "Channel", "ChannelFile", "ChannelStderrFile", "ChannelStdinFile", "SSHException",
           "AuthenticationException", "BadHostKeyException", "MissingHostKeyPolicy", "AutoAddPolicy", "RejectPolicy",
           "WarningPolicy", "NotHere"]

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
    """What a program may ask of a connection. Its own constructor leads to a lease, too:

        transport = paramiko.Transport(("web1", 22))
        transport.connect(username="ci", password="ignored")
        sftp = paramiko.SFTPClient.from_transport(transport)
    """

    # For programs to set, as they do for slow servers, and to read: the target's settings count.
    banner_timeout = handshake_timeout = auth_timeout = clear_to_send_timeout = 30.0
    default_window_size, default_max_packet_size = WINDOW, 32768
    disabled_algorithms: Any = None
    gss_host: Any = None
    gss_kex_used = use_gss_kex = server_mode = False
    saved_exception = None
    # What it has of a thread there: none is behind it here.
    daemon = True
    name = "sshlease transport"

    def __init__(self, sock: Any, *_: Any, **__: Any) -> None:
        """`sock`: (host, port), or "host:port"; nothing is leased before connect() or one of the auth_…(). A socket is
        refused: it would be another way to the server than the daemon's."""
        if isinstance(sock, str):
            host, colon, port = sock.rpartition(":")
            sock = (host, int(port)) if colon and port.isdigit() and ":" not in host else (sock, 22)
        if not isinstance(sock, tuple) or len(sock) < 2 or not isinstance(sock[0], str) or not isinstance(sock[1], int):
            raise ValueError(f"Transport({sock!r}): it is (host, port) here, for the daemon connects; give the target a "
                             "proxy in its configuration")
        self._host, self._port = sock[0], sock[1]
        self._user: Optional[str] = None
        self._lease: Optional[Lease] = None
        self._log_name = "paramiko.transport"
        self.target = ""           # what is leased, or was last
        self.history = History()   # what was run under that

    # --- the lease ---

    def _take(self, username: Optional[str], **options: Any) -> None:
        if self._lease is not None:
            raise _translated(SshleaseError("this transport is connected already", target=self.target, code=2))
        names = _names(self._host, self._port, username)
        for name in names:
            try:
                self._lease = Lease(name, **options)
                self._user, self.target, self.history = username, name, self._lease.history
                return
            except SshleaseError as e:
                if e.code != _NO_TARGET or name == names[-1]:
                    raise _translated(e) from None

    def _held(self) -> Lease:
        if self._lease is None:
            raise _translated(SshleaseError("SSH session not active: connect() first", code=30))
        return self._lease

    def connect(self, hostkey: Any = None, username: str = "", password: Optional[str] = None, pkey: Any = None,
                **_: Any) -> None:
        """Takes the lease. Password and key are ignored: the daemon logs in. A `hostkey` is refused: the daemon checks the
        server's, against the target's known_hosts."""
        if hostkey is not None:
            raise ValueError("connect(hostkey=…): the daemon checks the host key; put it into the target's known_hosts")
        self._take(username or None)

    def start_client(self, event: Any = None, timeout: Optional[float] = None) -> None:
        """Does nothing yet: the daemon connects when it is known as whom, at auth_…()."""
        if event is not None:
            event.set()

    def _auth(self, username: str) -> List[str]:
        self._take(username or None)
        return []

    def auth_none(self, username: str) -> List[str]:
        return self._auth(username)

    def auth_password(self, username: str, password: str, event: Any = None, fallback: bool = True) -> List[str]:
        """Takes the lease; the password is ignored."""
        return self._auth(username)

    def auth_publickey(self, username: str, key: Any, event: Any = None) -> List[str]:
        """Takes the lease; the key is ignored."""
        return self._auth(username)

    def auth_interactive(self, username: str, handler: Any, submethods: str = "") -> List[str]:
        """Takes the lease; nothing is asked."""
        return self._auth(username)

    def auth_interactive_dumb(self, username: str, handler: Any = None, submethods: str = "") -> List[str]:
        return self._auth(username)

    def auth_gssapi_with_mic(self, username: str, gss_host: str, gss_deleg_creds: bool) -> List[str]:
        return self._auth(username)

    def auth_gssapi_keyex(self, username: str) -> List[str]:
        return self._auth(username)

    def set_gss_host(self, gss_host: Any, trust_dns: bool = True, gssapi_requested: bool = True) -> None:
        """Does nothing: the daemon logs in."""

    def is_active(self) -> bool:
        """Whether there is a lease, as the daemon says by now. (A connection that is lost while nothing runs on it is no
        end of it: the next command gets another one.)"""
        lease = self._lease
        if lease is None or lease.closed:
            return False
        lease._link.look()
        return not lease.over

    is_authenticated = is_alive = is_active

    @property
    def active(self) -> bool:
        return self.is_active()

    authenticated = active

    def close(self) -> None:
        """Gives the connection back."""
        if self._lease is not None:
            self._lease.close()

    stop_thread = close

    def atfork(self) -> None:
        """Does nothing: a forked child's copy holds nothing, and its calls raise."""

    def join(self, timeout: Optional[float] = None) -> None:
        """Returns at once."""

    def getName(self) -> str:
        return self.name

    def setName(self, name: str) -> None:
        self.name = name

    def isDaemon(self) -> bool:
        return self.daemon

    def setDaemon(self, daemonic: bool) -> None:
        self.daemon = daemonic

    def __enter__(self) -> "Transport":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- channels ---

    def open_session(self, window_size: Optional[int] = None, max_packet_size: Optional[int] = None,
                     timeout: Optional[float] = None) -> Channel:
        """The sizes are the daemon's."""
        return Channel(self._held(), _translated, self)

    def open_channel(self, kind: str, *_: Any, **__: Any) -> Channel:
        if kind != "session":
            raise _translated(SshleaseError(
                f"sshlease.paramiko opens no channels of kind {kind!r}: ssh's forwards through the target's socket for ssh "
                "have them", target=self.target, code=2))
        return self.open_session()

    def open_sftp_client(self, window_size: Optional[int] = None, max_packet_size: Optional[int] = None) -> Any:
        """paramiko's own SFTPClient. ImportError where paramiko is not installed."""
        return _sftp(self.open_session)

    # --- what else is asked or told ---

    def getpeername(self) -> Tuple[str, int]:
        """The host as this program named it, and the port: where that leads the daemon knows."""
        return self._host, self._port

    @property
    def hostname(self) -> str:
        return self._host

    @property
    def log_name(self) -> str:
        return self._log_name

    @property
    def logger(self) -> Any:
        """Nothing is logged here: the daemon has the log."""
        return importlib.import_module("logging").getLogger(self._log_name)

    def get_username(self) -> Optional[str]:
        """As which user it was asked for; None: as whom the target says."""
        return self._user

    def get_banner(self) -> None:
        return None

    def get_exception(self) -> None:
        return None

    def set_keepalive(self, interval: int) -> None:
        """Does nothing: the daemon keeps the connection alive."""

    def use_compression(self, compress: bool = True) -> None:
        """Does nothing: the daemon decides."""

    def set_log_channel(self, name: str) -> None:
        self._log_name = name

    def get_log_channel(self) -> str:
        return self._log_name

    def set_hexdump(self, hexdump: bool) -> None:
        """Does nothing: the packets are the daemon's."""

    def get_hexdump(self) -> bool:
        return False

    def __getattr__(self, name: str) -> NoReturn:
        missing("Transport", name)

    def __repr__(self) -> str:
        return f"<sshlease transport of {self._lease!r}>"


class SSHClient:
    def __init__(self) -> None:
        self._transport: Optional[Transport] = None
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
                lease_timeout: Optional[float] = None, label: Optional[str] = None, socket: SocketPath = None,
                autostart: bool = False, **ignored: Any) -> None:
        """Leases a connection; see above for which, and for what is ignored. What paramiko does not know (lease_timeout,
        label, socket, autostart) is as for sshlease.lease()."""
        if sock is not None:
            raise ValueError("connect(sock=…): the daemon connects; give the target a proxy in its configuration")
        self.close()
        transport = Transport((hostname, port))
        transport._take(username, timeout=timeout, lease_timeout=lease_timeout, label=label, socket=socket,
                        autostart=autostart)
        self._transport, self.target, self.history = transport, transport.target, transport.history

    def get_transport(self) -> Optional[Transport]:
        """None unless connected."""
        return self._transport

    def _session(self) -> Channel:
        if self._transport is None:
            raise _translated(SshleaseError("SSH session not active: connect() first", code=30))
        return self._transport.open_session()

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
        return _sftp(self._session)

    def close(self) -> None:
        """Gives the connection back."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def __enter__(self) -> "SSHClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> NoReturn:
        missing("SSHClient", name)


def _sftp(session: Callable[[], Channel]) -> Any:
    if _real is None:
        raise ImportError("SFTP needs paramiko, whose SFTPClient it is: install python3-paramiko", name="paramiko")
    channel = session()
    channel.invoke_subsystem("sftp")
    return _real.SFTPClient(channel)


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


def _part(name: str) -> types.ModuleType:
    """paramiko.client and its like: with the classes of ours, for paramiko's own would connect by themselves, past the
    daemon; the rest is theirs."""
    module = types.ModuleType(f"{__name__}.{name}", f"As paramiko.{name}, with the classes of {__name__}.")

    def get(wanted: str) -> Any:
        if wanted in __all__:
            return globals()[wanted]
        if wanted.startswith("__") or _real is None:
            raise AttributeError(f"module {module.__name__!r} has no attribute {wanted!r}")
        return getattr(getattr(_real, name), wanted)
    module.__dict__["__getattr__"] = get
    sys.modules[module.__name__] = module
    return module


client, transport, channel = _part("client"), _part("transport"), _part("channel")
