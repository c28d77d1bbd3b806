# SPDX-License-Identifier: MIT
"""What leases have in common, blocking or not: their properties, and what their arguments mean."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
import warnings
from typing import Any, Callable, Mapping, NoReturn, Optional, Sequence, Tuple, Union

from . import _wire as wire
from ._errors import IO, CommandTimeout, NoOrderlyEnd, SshleaseError
from ._history import History
from ._session import GRANTED, Session, Stream
from ._version import __version__
from ._wire import Pty

Command = Union[str, Sequence[str]]
Input = Union[str, bytes, bytearray, memoryview]
Terminal = Union[bool, Pty, Tuple[int, int]]
SocketPath = Union[str, "os.PathLike[str]", None]
Buffer = Union[bytes, bytearray]
Waiting = Callable[[int, float, str], Any]

# What the daemon answers at once, whatever the target does, is waited for this long (seconds).
ANSWER_SECONDS = 30.0
# close() is more impatient: the daemon reclaims a lease that was not given back.
CLOSE_SECONDS = 5.0
# Between the end of a command's output and the word how it ended.
END_SECONDS = 0.5
PROGRAM = f"sshlease-python {__version__}"
_HERE = os.path.dirname(__file__)


# --- what arguments mean; a wrong one raises a TypeError or ValueError that names it and says what would be right ---

def command_line(command: Command) -> str:
    """A list is quoted for the remote user's shell; a text is a command line as it is."""
    if isinstance(command, str):
        return command
    if isinstance(command, (bytes, bytearray)) or not isinstance(command, Sequence):
        raise TypeError(f"the command is {command!r}; it may be a command line, or a list of words, which is quoted for the "
                        "remote shell")
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in command]
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"a word of the command is {word!r}; words are texts")
    return shlex.join(words)


def seconds(what: str, value: Optional[float]) -> Optional[float]:
    """A number of seconds, or None."""
    if value is None:
        return None
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise TypeError(f"{what} is {value!r}; it may be a number of seconds, such as 5 or 0.5")
    if math.isnan(value):
        raise ValueError(f"{what} is not a number; it may be a number of seconds, such as 5 or 0.5")
    return float(value)


def milliseconds(what: str, value: Optional[float]) -> int:
    """For the protocol, where 0 means the target's setting, as None does here. No time at all becomes a millisecond."""
    value = seconds(what, value)
    if value is None:
        return 0
    if not 0 <= value < 4294967:
        raise ValueError(f"{what} is {value:g} seconds; it may be 0 to 4294966")
    return max(1, math.ceil(value * 1000))


def terminal(pty: Terminal) -> Optional[Pty]:
    """True: a vt100 of 80 x 24; (columns, lines): a vt100 of that size."""
    if isinstance(pty, bool):
        return Pty() if pty else None
    if isinstance(pty, Pty):
        return pty
    if not isinstance(pty, (tuple, list)) or len(pty) != 2 or not all(isinstance(one, int) for one in pty):
        raise TypeError(f"pty is {pty!r}; it may be True, False, (columns, lines), or a Pty")
    return Pty(cols=pty[0], rows=pty[1])


def environment(env: Optional[Mapping[str, str]]) -> wire.Env:
    if env is None:
        return ()
    if not isinstance(env, Mapping):
        raise TypeError(f"env is {env!r}; it may be a dict of names and values")
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"env has {name!r}: {value!r}; names and values are texts")
    return list(env.items())


def encoded(data: Input, encoding: Optional[str], errors: str) -> memoryview:
    if not isinstance(data, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"input is {data!r}; it may be a text or bytes")
    if isinstance(data, str):
        if encoding is None:
            raise TypeError("input is text, but there is no encoding")
        data = data.encode(encoding, "surrogateescape" if errors == "replace" else errors)
    return memoryview(data).cast("B")


def caller() -> Tuple[str, int]:
    """File and line outside of this package that are being run: where a lease was made."""
    frame = sys._getframe(1)
    while frame.f_back is not None and os.path.dirname(frame.f_code.co_filename) == _HERE:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def abandoned(drop: Callable[[], bool], target: str, where: Tuple[str, int]) -> None:
    """The finalizer of a lease that nobody closed. First things first: the lease ends; then the warning, which may raise."""
    if not drop():
        return  # the parent's, in a forked child
    warnings.warn_explicit(f"unclosed sshlease.Lease of {target!r} (use `with`, or close())", ResourceWarning, *where)


def timed_out(command: str, timeout: Optional[float], target: str, out: bytearray, err: bytearray,
              encoding: Optional[str]) -> CommandTimeout:
    """With what had come until then."""
    assert timeout is not None
    error = CommandTimeout(command, timeout, target=target)
    carry(error, out, err, encoding)
    return error


def carry(error: SshleaseError, out: Optional[Buffer], err: Optional[Buffer], encoding: Optional[str]) -> SshleaseError:
    """The error, with what a command had written; a character that was cut in two is no reason to fail in another way."""
    def what(data: Optional[Buffer]) -> Union[str, bytes, None]:
        return None if data is None else bytes(data) if encoding is None else data.decode(encoding, "replace")
    error.stdout, error.stderr = what(out), what(err)
    return error


def no_orderly_end(stream: Stream, target: str) -> NoOrderlyEnd:
    """A stream has no result, and the lease lives on."""
    text = "it was closed by this program" if stream.discarded else stream.text or "nothing said how"
    return NoOrderlyEnd(f"no orderly end of the command was seen: {text}", target=target, code=IO)


class LeaseBase:
    """What is known of a lease without asking anybody."""

    target: str
    label: str
    _session: Session
    _finalizer: Any  # a weakref.finalize

    @property
    def id(self) -> int:
        """As `sshlease status` shows it."""
        return self._session.lease_id

    @property
    def left(self) -> float:
        """Seconds until the lease runs out unless renewed; 0.0 once it is over."""
        session = self._session
        return 0.0 if session.is_over() else max(0.0, session.deadline - time.monotonic())

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return not self._finalizer.alive

    @property
    def over(self) -> bool:
        """Whether there is no lease any more, as far as is known by now."""
        return self._session.state is not GRANTED

    @property
    def history(self) -> History:
        """What was run under it, and what came of that: the newest 100."""
        return self._session.history

    def __repr__(self) -> str:
        state = "closed" if self.closed else self._session.state
        return f"<sshlease.Lease {self.id} of {self.target!r}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lease belongs to the process that took it: it cannot be pickled")
