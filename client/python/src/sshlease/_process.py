# SPDX-License-Identifier: MIT
"""A command that runs while the program does something else: file objects for its input and output."""

from __future__ import annotations

import copy
import errno
import io
import signal as signals
import subprocess
import time
import weakref
from typing import IO, Any, Callable, List, Optional, Protocol, Tuple, Union, cast

from . import _wire as wire
from ._common import carry, encoded, seconds
from ._errors import CommandTimeout, SshleaseError, hidden
from ._link import Link
from ._result import returncode_of
from ._session import Session, Stream, no_stream

__tracebackhide__ = hidden

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL

Bins = Tuple[Optional[bytearray], Optional[bytearray]]


def bins_for(stdout: int, stderr: int) -> Bins:
    """Where the two outputs go, as subprocess' constants say it."""
    if stdout not in (PIPE, DEVNULL) or stderr not in (PIPE, DEVNULL, STDOUT):
        raise ValueError("stdout is PIPE or DEVNULL; stderr is PIPE, DEVNULL or STDOUT")
    out = bytearray() if stdout == PIPE else None
    return out, out if stderr == STDOUT else bytearray() if stderr == PIPE else None


def give_input(link: Link, stream: Stream, data: memoryview, deadline: Optional[float]) -> memoryview:
    """Sends the input as there is credit for it. What is left of it: nothing, unless the stream or the time ended."""
    while data and not stream.over:
        if not link.wait(stream.can_send, deadline):
            break
        with link.lock:
            data = data[link.session.send(stream, data):]
    return data


def _let_go(link: Link, stream: Stream) -> None:
    if not stream.over:
        stream.record.abandoned = not stream.is_ending()
        link.later(lambda: link.session.discard(stream))


class Holder(Protocol):
    """A lease, as far as its streams know it."""

    target: str

    def _no_result(self, stream: Stream) -> SshleaseError: ...


class Handle:
    """A stream and what keeps it alive: it ends on the far side when the last of the objects that use it goes."""

    def __init__(self, lease: Holder, link: Link, stream: Stream) -> None:
        self.lease, self.link, self.stream = lease, link, stream
        weakref.finalize(self, _let_go, link, stream).atexit = False  # the lease ends then, and this with it

    @property
    def session(self) -> Session:
        return self.link.session

    def read_some(self, source: bytearray, most: int, deadline: Optional[float]) -> Optional[bytes]:
        """At most `most` bytes of what waits in `source`, waiting for the first; b"" at its end; None when the time ran out.
        Raises why the stream has no orderly end, once everything before that was read."""
        stream, link = self.stream, self.link
        if not source and not link.wait(lambda: bool(source) or stream.eof or stream.over, deadline):
            return None
        with link.lock:
            data = bytes(source[:most])
            if data:
                del source[:len(data)]
                if not stream.collect:
                    self.session.took(stream, len(data))
                    if self.session.out:
                        link.flush()
                return data
        if stream.over and (stream.why is not None or stream.how == wire.END_UNKNOWN):
            raise self.lease._no_result(stream)
        return b""

    def write_all(self, data: memoryview, deadline: Optional[float] = None) -> int:
        """Sends everything, as the command takes it. How much that was, less than all if the time ran out. Raises
        BrokenPipeError when it has ended, and why it has no orderly end."""
        stream, link = self.stream, self.link
        left = give_input(link, stream, data, deadline)
        if stream.over and left:
            if stream.why is None:
                raise BrokenPipeError(errno.EPIPE, "the command has ended already")
            raise no_stream(self.lease.target, stream, self.session)
        link.wait(lambda: not self.session.out or stream.over, deadline)
        return len(data) - len(left)

    def end_input(self) -> None:
        """From anywhere, finalizers too."""
        self.link.later(lambda: self.session.send_eof(self.stream))

    def drop_output(self, fd: int) -> None:
        """Nobody will read it any more."""
        def drop() -> None:
            stream, bins = self.stream, self.stream.bins
            mine, other = bins[fd], bins[1 - fd]
            if mine is None:
                return
            if not stream.collect:
                self.session.took(stream, len(mine))
            mine.clear()
            same = other is mine
            stream.bins = (None if fd == 0 or same else bins[0], None if fd == 1 or same else bins[1])
        self.link.later(drop)


class _Output(io.RawIOBase):
    """Where the end is none, it looks like one from here, so that whoever buffers gives what he has got; `error` says why it
    is none."""

    def __init__(self, handle: Handle, source: bytearray, fd: int) -> None:
        self._handle, self._source, self.fd = handle, source, fd
        self.error: Optional[SshleaseError] = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.error is not None:
            return 0
        try:
            data = self._handle.read_some(self._source, len(buffer), None)
        except SshleaseError as error:
            self.error = error
            return 0
        assert data is not None
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._handle.drop_output(self.fd)


def _cut(raw: _Output, got: Any) -> SshleaseError:
    """Why the end of the output is none, with what was read for nothing."""
    assert raw.error is not None
    error = copy.copy(raw.error)
    error.stdout, error.stderr = (got, None) if raw.fd == 0 else (None, got)
    return error


class _Checked:
    """What a reader of either kind does where the end of the output is none: a part of a line, or less than was asked for, is
    given as it is, and what would be empty then raises. What was to be all raises at once, and the exception has what there
    was."""

    def __init__(self, raw: _Output, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._output = raw

    def _checked(self, got: Any) -> Any:
        if not got and self._output.error is not None:
            raise copy.copy(self._output.error)
        return got

    def read(self, size: Optional[int] = -1) -> Any:
        whole = size is None or size < 0
        got = super().read(size)  # type: ignore[misc]
        if whole and self._output.error is not None:
            raise _cut(self._output, got)
        return got if size == 0 else self._checked(got)

    def readline(self, size: Optional[int] = -1) -> Any:
        got = super().readline(-1 if size is None else size)  # type: ignore[misc]
        return got if size == 0 else self._checked(got)

    def readlines(self, hint: Optional[int] = -1) -> List[Any]:
        lines: List[Any] = []
        size = 0
        while hint is None or hint <= 0 or size < hint:
            try:
                line = self.readline()
            except SshleaseError:
                raise _cut(self._output, (lines[0][:0] if lines else self._empty()).join(lines)) from None
            if not line:
                break
            lines.append(line)
            size += len(line)
        return lines

    def _empty(self) -> Any:
        return b""


class _Reader(_Checked, io.BufferedReader):  # type: ignore[misc]
    def __init__(self, raw: _Output) -> None:
        super().__init__(raw, raw, 65536)

    def read1(self, size: int = -1) -> bytes:
        got: bytes = self._checked(super().read1(size))
        return got

    def readinto(self, buffer: Any) -> int:
        got: int = self._checked(super().readinto(buffer))
        return got


class _TextReader(_Checked, io.TextIOWrapper):  # type: ignore[misc]
    def __init__(self, raw: _Output, encoding: str, errors: str) -> None:
        super().__init__(raw, io.BufferedReader(raw, 65536), encoding, errors)

    def _empty(self) -> Any:
        return ""

    def read(self, size: Optional[int] = -1) -> Any:
        try:
            return super().read(size)
        except UnicodeDecodeError as e:
            raise self._half(e) from None

    def readline(self, size: Optional[int] = -1) -> Any:
        try:
            return super().readline(size)
        except UnicodeDecodeError as e:
            raise self._half(e) from None

    def _half(self, error: UnicodeDecodeError) -> Exception:
        """A character that was cut in two where the output was is no reason to fail in another way."""
        if self._output.error is None:
            return error
        return _cut(self._output, error.object.decode(self.encoding, "replace"))


def _reader(handle: Handle, source: bytearray, fd: int, encoding: Optional[str], errors: str) -> IO[Any]:
    raw = _Output(handle, source, fd)
    return cast(IO[Any], _Reader(raw) if encoding is None else _TextReader(raw, encoding, errors))


class _Input(io.RawIOBase):
    """Not buffered: what is written is on its way when write() returns."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to closed file")
        return self._handle.write_all(memoryview(data).cast("B"))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._handle.end_input()


def _writer(handle: Handle, encoding: Optional[str], errors: str) -> IO[Any]:
    raw: Any = _Input(handle)
    return cast(IO[Any], raw if encoding is None else io.TextIOWrapper(raw, encoding, errors, newline="\n", write_through=True))


class Process:
    """What popen() and shell() give: as subprocess.Popen, on the far side.

    `stdin`, `stdout`, `stderr`: file objects, text where an encoding was asked for, None where there is none. `args`: the
    command line. `returncode`: None until poll() or wait() has seen its end; minus a signal's number if one killed it.

    As with subprocess.Popen, the command is over when it has exited, whoever else has its output open: poll() and wait()
    say so at once, while reading goes on to the output's end, as communicate() does. (A daemon that is older than this
    package does not tell before that end.)

    The two outputs share a window (256 KiB unless said otherwise): a command that fills it with the output nobody reads
    waits. communicate() reads both; stderr=STDOUT makes one of them.

    At the end of a `with` it is waited for, and what it has left behind with its output open; after an exception it is
    ended, and so it is when this object and its files go.
    """

    def __init__(self, handle: Handle, args: str, stdin: bool, bins: Bins, encoding: Optional[str], errors: str) -> None:
        self._handle, self.args = handle, args
        self._bins, self._encoding, self._errors = bins, encoding, errors
        self.returncode: Optional[int] = None
        self._unsent = memoryview(b"")  # of communicate()'s input
        out, err = bins
        self.stdin: Optional[IO[Any]] = _writer(handle, encoding, errors) if stdin else None
        self.stdout: Optional[IO[Any]] = None
        self.stderr: Optional[IO[Any]] = None
        if out is not None:
            self.stdout = _reader(handle, out, 0, encoding, errors)
        if err is not None and err is not out:
            self.stderr = _reader(handle, err, 1, encoding, errors)

    @property
    def signal(self) -> str:
        """The name ("TERM") of the signal that killed it, else ""."""
        return self._handle.stream.signal

    def _ended(self) -> int:
        stream = self._handle.stream
        if self.returncode is None:
            if stream.discarded or stream.why is not None or stream.how == wire.END_UNKNOWN:
                raise self._handle.lease._no_result(stream)
            self.returncode = returncode_of(stream)
        return self.returncode

    def poll(self) -> Optional[int]:
        """The returncode if it has ended, else None. Raises if it was cut short."""
        return self._ended() if self._handle.link.wait(self._handle.stream.has_exited, time.monotonic()) else None

    def wait(self, timeout: Optional[float] = None) -> int:
        """Waits until it has exited, for `timeout` seconds at most: then CommandTimeout, and it runs on."""
        timeout = seconds("timeout", timeout)
        return self._await(self._handle.stream.has_exited, None if timeout is None else time.monotonic() + timeout, timeout)

    def _await(self, done: Callable[[], bool], deadline: Optional[float], timeout: Optional[float]) -> int:
        if not self._handle.link.wait(done, deadline):
            assert timeout is not None
            raise CommandTimeout(self.args, timeout, target=self._handle.lease.target)
        return self._ended()

    def communicate(self, input: Union[str, bytes, None] = None, timeout: Optional[float] = None) -> Tuple[Any, Any]:
        """Sends the input, ends it, reads both outputs to their end, and waits for the end of the command. After
        `timeout` seconds: CommandTimeout; it runs on, and calling again goes on where that was: with the rest of the
        input, and nothing of the output lost. What it raises has the output that nobody had read."""
        handle, stream = self._handle, self._handle.stream
        timeout = seconds("timeout", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        with handle.link.lock:
            if not stream.collect:
                stream.collect = True
                out, err = self._bins
                waiting = len(out or b"") + (len(err or b"") if err is not out else 0)
                handle.session.took(stream, waiting)
        if self.stdin is not None:
            if input is not None and not self._unsent and not stream.eof_sent:
                self._unsent = encoded(input, self._encoding or "utf-8", self._errors)
            self._unsent = give_input(handle.link, stream, self._unsent, deadline)
            if not self._unsent or stream.over:
                self.stdin.close()
        try:
            self._await(stream.is_over, deadline, timeout)
        except SshleaseError as error:
            out, err = self._bins
            carry(error, out, err if err is not out else None, self._encoding)
            raise
        return self._rest(self.stdout), self._rest(self.stderr)

    @staticmethod
    def _rest(file: Optional[IO[Any]]) -> Any:
        return None if file is None or file.closed else file.read()

    def send_signal(self, number: Union[int, str]) -> None:
        """A signal by number or name ("TERM", "SIGTERM"). The server may ignore it, and does not say so."""
        name = number if isinstance(number, str) else signals.Signals(number).name
        name = name[3:] if name.startswith("SIG") else name
        if not 1 <= len(name) <= 255 or "\0" in name:
            raise ValueError(f"no name of a signal: {name!r}")
        self._send(lambda: self._handle.session.send_signal(self._handle.stream, name))

    def terminate(self) -> None:
        self.send_signal("TERM")

    def kill(self) -> None:
        self.send_signal("KILL")

    def resize(self, cols: int, rows: int, width_px: int = 0, height_px: int = 0) -> None:
        """The terminal's new size."""
        self._send(lambda: self._handle.session.send_size(self._handle.stream, cols, rows, width_px, height_px))

    def _send(self, queue: Callable[[], None]) -> None:
        link = self._handle.link
        with link.lock:
            queue()
        link.wait(lambda: not link.session.out or link.session.is_over())

    def close(self) -> None:
        """Ends it on the far side if it still runs (TERM, then KILL after the target's kill_grace), and closes the files.
        Does not wait."""
        self._handle.link.discard(self._handle.stream)
        files: List[Optional[IO[Any]]] = [self.stdin, self.stdout, self.stderr]
        for file in files:
            if file is not None:
                file.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, kind: Optional[type], *_: object) -> None:
        try:
            if kind is None:
                if self.stdin is not None:
                    self.stdin.close()
                # What nobody read is dropped, so that nobody waits for it.
                for file in (self.stdout, self.stderr):
                    if file is not None:
                        file.close()
                self._await(self._handle.stream.is_over, None, None)
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<sshlease.Process {self.args!r} on {self._handle.lease.target!r}, returncode {self.returncode}>"
