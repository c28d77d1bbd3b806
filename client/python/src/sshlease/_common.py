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


def command_line(command: Command) -> str:
    """A list is quoted for the remote user's shell; a text is a command line as it is."""
    return command if isinstance(command, str) else shlex.join(command)


def milliseconds(what: str, seconds: Optional[float]) -> int:
    """For the protocol, where 0 means the target's setting, as None does here. No time at all becomes a millisecond."""
    if seconds is None:
        return 0
    if not 0 <= seconds < 4294967:
        raise ValueError(f"{what} is {seconds} seconds")
    return max(1, math.ceil(seconds * 1000))


def terminal(pty: Terminal) -> Optional[Pty]:
    """True: a vt100 of 80 x 24; (columns, lines): a vt100 of that size."""
    if isinstance(pty, bool):
        return Pty() if pty else None
    return pty if isinstance(pty, Pty) else Pty(cols=pty[0], rows=pty[1])


def environment(env: Optional[Mapping[str, str]]) -> wire.Env:
    return list(env.items()) if env else ()


def encoded(data: Input, encoding: Optional[str], errors: str) -> memoryview:
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
