# SPDX-License-Identifier: MIT
"""What a command wrote and how it ended."""

from __future__ import annotations

import signal as signals
from typing import Any, AnyStr, Generic, Optional, cast

from . import _wire as wire
from ._errors import CommandFailed, hidden
from ._session import Stream

__tracebackhide__ = hidden


def returncode_of(stream: Stream) -> int:
    """The exit status; as with subprocess, minus the signal's number if one killed it (-1 if it has none here)."""
    if stream.how == wire.END_STATUS:
        return stream.exit_status
    number = getattr(signals, f"SIG{stream.signal}", None)
    return -int(number) if isinstance(number, signals.Signals) else -1


class Result(Generic[AnyStr]):
    """`stdout` and `stderr` are text, or bytes where encoding=None was asked for; `stdout_bytes` and `stderr_bytes` what
    came over the wire. `signal`: the name ("TERM") of the signal that killed it, else "". `command`: the command line."""

    __slots__ = ("command", "target", "returncode", "signal", "core_dumped", "stdout_bytes", "stderr_bytes", "encoding",
                 "errors")

    def __init__(self, command: str, target: str, stream: Stream, stdout: bytes, stderr: bytes, encoding: Optional[str],
                 errors: str) -> None:
        self.command, self.target = command, target
        self.returncode = returncode_of(stream)
        self.signal, self.core_dumped = stream.signal, stream.core_dumped
        self.stdout_bytes, self.stderr_bytes = stdout, stderr
        self.encoding, self.errors = encoding, errors

    def _decoded(self, data: bytes) -> AnyStr:
        text: Any = data if self.encoding is None else data.decode(self.encoding, self.errors)
        return cast(AnyStr, text)

    @property
    def stdout(self) -> AnyStr:
        return self._decoded(self.stdout_bytes)

    @property
    def stderr(self) -> AnyStr:
        return self._decoded(self.stderr_bytes)

    @property
    def rc(self) -> int:
        """As testinfra calls it."""
        return self.returncode

    @property
    def succeeded(self) -> bool:
        return self.returncode == 0

    @property
    def failed(self) -> bool:
        return self.returncode != 0

    def check(self) -> "Result[AnyStr]":
        """Itself; raises CommandFailed unless it exited with 0."""
        if self.returncode != 0:
            raise CommandFailed(self)
        return self

    def __repr__(self) -> str:
        how = f"signal={self.signal!r}" if self.signal else f"returncode={self.returncode}"
        return f"Result({self.command!r}, {how}, stdout={self.stdout!r}, stderr={self.stderr!r})"
