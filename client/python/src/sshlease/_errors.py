# SPDX-License-Identifier: MIT
"""What can go wrong, as exceptions that name the target and the reason.

    SshleaseError
     ├─ Busy              a limit is reached: waiting programs, streams, clients
     ├─ Timeout           no lease (or no answer) in time                          (a TimeoutError)
     ├─ Refused           no lease, or no stream, and why:
     │   ├─ Unreachable          the server cannot be reached
     │   ├─ HostKeyError         its host key is not the one that is known
     │   └─ AuthenticationError  it does not take the credentials
     ├─ LeaseEnded        there was a lease, and it is over:
     │   ├─ Expired · Revoked · ConnectionLost
     ├─ DaemonGone        sshleased closed the connection, or is shutting down     (a ConnectionError)
     │   └─ NoDaemon             none is listening
     ├─ NoOrderlyEnd      the server does not say how the command ended
     ├─ CommandFailed     check=True and the command did not exit with 0
     └─ CommandTimeout    the command took longer than its timeout                 (a TimeoutError)
"""

from __future__ import annotations

import re
from typing import Any, Dict, Optional, Tuple, Type

# proto/PROTOCOL.md, "Status codes": number: (name, text, whether the same request may succeed later by itself).
STATUS: Dict[int, Tuple[str, str, bool]] = {
    1: ("out-of-memory", "out of memory", True),
    2: ("invalid", "invalid argument", False),
    3: ("protocol", "protocol violation", False),
    4: ("version", "protocol version not spoken here", False),
    5: ("not-allowed", "not allowed", False),
    6: ("limit", "a limit of the daemon is reached", True),
    7: ("io", "input/output error", False),
    8: ("internal", "internal error", False),
    9: ("again", "not ready yet", True),
    10: ("config", "the configuration is not valid", False),
    11: ("cancelled", "cancelled", True),
    12: ("unsupported", "not offered here", False),
    20: ("no-target", "no such target", False),
    21: ("timeout", "timed out", True),
    22: ("queue-full", "too many are waiting already", True),
    23: ("target-down", "the target is down", True),
    24: ("shutdown", "the daemon is shutting down", True),
    30: ("no-lease", "no such lease", False),
    31: ("expired", "the lease ran out", True),
    32: ("revoked", "an operator took the lease back", True),
    33: ("connection-lost", "the SSH connection was lost", True),
    34: ("client-gone", "the client went away", True),
    40: ("stream-limit", "too many streams on this connection", True),
    41: ("stream-refused", "the server refused the stream", False),
    42: ("no-stream", "no such stream", False),
    50: ("resolve", "the host name does not resolve", True),
    51: ("connect", "cannot connect", True),
    52: ("connect-timeout", "connecting timed out", True),
    53: ("login-timeout", "logging in timed out", True),
    54: ("handshake", "the SSH handshake failed", True),
    55: ("host-key-unknown", "the host key is not known", False),
    56: ("host-key-changed", "the host key has CHANGED", False),
    57: ("host-key-revoked", "the host key is revoked", False),
    58: ("auth-failed", "the server rejects the credentials", False),
    59: ("credentials", "the credentials cannot be used", False),
    60: ("peer-dead", "the server does not answer", True),
    61: ("no-algorithm", "no algorithm in common with the server", False),
    70: ("no-daemon", "no sshleased is listening", True),
    71: ("daemon-gone", "sshleased closed the connection", True),
    72: ("busy", "the handle is busy with another request", True),
    73: ("forked", "the handle belongs to the process that forked", False),
}

INVALID, PROTOCOL, VERSION, NOT_ALLOWED, IO, TIMEOUT, SHUTDOWN = 2, 3, 4, 5, 7, 21, 24
NO_LEASE, NO_STREAM, NO_DAEMON, DAEMON_GONE, FORKED = 30, 42, 70, 71, 73


class SshleaseError(Exception):
    """Base of them all.

    `target`: the target's name, "" where none is concerned. `reason`: one line for a person (several only for a
    configuration's errors). `code`, `name`: the status of PROTOCOL.md, 33 and "connection-lost". `unsent`: nothing was
    sent to the target for this request, so repeating it does no harm. `retryable`: the same may succeed later by itself.
    `stdout` (also `output`), `stderr`: what a command had written until then, bytes or text as asked for; None where no
    command ran, or its output was not collected.
    """

    stdout: Any = None
    stderr: Any = None

    @property
    def output(self) -> Any:
        return self.stdout

    def __init__(self, reason: str, *, target: str = "", code: int = 8, unsent: bool = False) -> None:
        super().__init__(reason)
        self.target, self.reason, self.code, self.unsent = target, reason, code, unsent

    @property
    def name(self) -> str:
        return STATUS[self.code][0] if self.code in STATUS else f"status-{self.code}"

    @property
    def retryable(self) -> bool:
        return self.code in STATUS and STATUS[self.code][2]

    def __str__(self) -> str:
        if not self.target or self._names_target():
            return self.reason
        return f"{self.target}: {self.reason}"

    def _names_target(self) -> bool:
        """The daemon's texts mostly do."""
        return re.search(rf"(?<![\w.-]){re.escape(self.target)}(?![\w-])", self.reason) is not None

    def __reduce__(self) -> Tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: Type[SshleaseError], args: Tuple[Any, ...], state: Dict[str, Any]) -> SshleaseError:
    """For pickling, which pytest-xdist and multiprocessing do with what a worker raises."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def hidden(caught: Any) -> bool:
    """`__tracebackhide__` of this package's modules: pytest shows where a test met an error of ours, not the steps within
    the package. Those of another error, which may be the package's fault, it shows."""
    return caught is not None and isinstance(caught.value, SshleaseError)


class Busy(SshleaseError):
    """A limit is reached: programs that wait for the target, streams of the lease, clients of the daemon."""


class Timeout(SshleaseError, TimeoutError):
    """No lease within the time given (or the target's acquire_timeout), or no answer from the daemon."""


class Refused(SshleaseError):
    """The daemon gives no lease, or the server takes no stream."""


class Unreachable(Refused):
    """The server's name does not resolve, it cannot be connected to, or it does not answer."""


class HostKeyError(Refused):
    """The server's host key is not known, has changed, or is revoked."""


class AuthenticationError(Refused):
    """The server rejects the credentials, or they cannot be used."""


class LeaseEnded(SshleaseError):
    """There is no lease any more. Itself: it was given back."""


class Expired(LeaseEnded):
    """The lease ran out: nothing was done on it for longer than its lease_timeout, or its longest time is over."""


class Revoked(LeaseEnded):
    """An operator took the lease back: with `sshlease end`, or by a configuration that does not allow it any more (its
    `name` is then "not-allowed")."""


class ConnectionLost(LeaseEnded):
    """The SSH connection was lost. What ran on it may or may not have finished."""


class DaemonGone(SshleaseError, ConnectionError):
    """sshleased closed the connection, or is shutting down."""


class NoDaemon(DaemonGone):
    """No sshleased is listening."""


class NoOrderlyEnd(SshleaseError):
    """The server has closed the command's stream without saying how it ended, as some do for every command. The lease is
    still there. `stdout` and `stderr` are all it has written."""


class CommandFailed(SshleaseError):
    """check=True, and the command did not exit with 0. `cmd`, `returncode`, `stdout` (also `output`), `stderr`, and the
    whole `result`. As with subprocess, a `returncode` below 0 is the signal that killed it."""

    def __init__(self, result: Any) -> None:
        if result.signal:
            how = f"was killed by SIG{result.signal}"
        else:
            how = f"exited with {result.returncode}"
        lines = result.stderr_bytes.decode("utf-8", "replace").strip().splitlines()
        said = f": {printable(lines[-1].expandtabs(1)[:200])}" if lines else ""
        super().__init__(f"{shorten(result.command)!r} {how}{said}", target=result.target, code=IO)
        self.result = result
        self.cmd, self.returncode = result.command, result.returncode
        self.stdout = result.stdout
        self.stderr = result.stderr

    def _names_target(self) -> bool:
        return False


class CommandTimeout(SshleaseError, TimeoutError):
    """The command took longer than its timeout. One that run() ran is ended on the far side (TERM, then KILL).
    `cmd`, `timeout` in seconds, and what it had written until then: `stdout` (also `output`) and `stderr`, bytes or text
    as asked for."""

    def __init__(self, command: str, timeout: float, *, target: str, stdout: Any = None, stderr: Any = None) -> None:
        super().__init__(f"{shorten(command)!r} was still running after {timeout:g} s", target=target, code=TIMEOUT)
        self.cmd, self.timeout = command, timeout
        self.stdout = stdout
        self.stderr = stderr

    def _names_target(self) -> bool:
        return False


def shorten(command: str) -> str:
    """A command as a message shows it."""
    line = " ".join(command.split())
    return line if len(line) <= 80 else line[:77] + "..."


_KINDS: Dict[int, Type[SshleaseError]] = {
    6: Busy, 22: Busy, 40: Busy, 72: Busy,
    21: Timeout,
    2: Refused, 4: Refused, 5: Refused, 10: Refused, 11: Refused, 12: Refused, 20: Refused, 41: Refused,
    61: Refused,
    23: Unreachable, 50: Unreachable, 51: Unreachable, 52: Unreachable, 53: Unreachable, 54: Unreachable,
    60: Unreachable,
    55: HostKeyError, 56: HostKeyError, 57: HostKeyError,
    58: AuthenticationError, 59: AuthenticationError,
    30: LeaseEnded, 31: Expired, 32: Revoked, 33: ConnectionLost,
    24: DaemonGone, 70: NoDaemon, 71: DaemonGone,
}


# As base/text.c has it, but for line breaks: control characters, what turns the direction of text, and broken UTF-8.
_UNSHOWN = dict.fromkeys((*range(10), *range(11, 0x20), *range(0x7f, 0xa0), 0x200e, 0x200f, *range(0x2028, 0x202f),
                          *range(0x2066, 0x206a), *range(0xd800, 0xe000)), "?")


def printable(text: str) -> str:
    """Parts of a text may come from the server; a terminal must not obey them."""
    return text.translate(_UNSHOWN).rstrip()


def error_for(code: int, text: str = "", *, target: str = "", unsent: bool = False, held: bool = False) -> SshleaseError:
    """The exception for a status of the protocol; without a text it says the status' own. `held`: there was a lease."""
    reason = printable(text) or (STATUS[code][1] if code in STATUS else f"unknown status {code}")
    kind = _KINDS.get(code, SshleaseError)
    if held and code == NOT_ALLOWED:
        kind = Revoked
    return kind(reason, target=target, code=code, unsent=unsent)


# What else than starting one by hand would do; pytest's plugin says how for its part.
BY_ITSELF = "or pass autostart=True"


def no_daemon(path: str, target: Optional[str], why: str = "") -> NoDaemon:
    """One clear error, with the command that starts one."""
    return NoDaemon(f"{why or f'no sshleased is listening at {path}'}; start one of your own with `sshleased --user &` or "
                    f"`systemctl --user start sshleased.socket`, {BY_ITSELF}",
                    target=target or "", code=NO_DAEMON, unsent=True)
