# SPDX-License-Identifier: MIT
"""paramiko's Channel over a stream of a lease. What a program that was written for paramiko does with them
does the same here; see sshlease.paramiko."""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import Any, Callable, Dict, NoReturn, Optional, TypeVar, Union

from . import _wire as wire
from ._channel_file import ChannelFile, ChannelStderrFile, ChannelStdinFile
from ._common import seconds
from ._errors import NO_STREAM, NoOrderlyEnd, SshleaseError, hidden
from ._lease import Lease
from ._not_here import missing
from ._process import Handle
from ._readiness import Readiness
from ._session import Stream
from ._wire import Pty

__tracebackhide__ = hidden

# As much as paramiko lets wait unread, so that programs which read one output after the other go on working.
WINDOW = 2097152
# How long the server of a subsystem may take to end by itself once its input has ended.
_SUBSYSTEM_SECONDS = 1.0

_T = TypeVar("_T")
Translate = Callable[[SshleaseError], Exception]


class Channel:
    """One command, shell or subsystem."""

    def __init__(self, lease: Lease, translate: Translate, transport: Any = None) -> None:
        self._lease, self._translate, self._transport = lease, translate, transport
        self._pty: Optional[Pty] = None
        self._env: Dict[str, str] = {}
        self._combined = False
        self._out = bytearray()
        self._err = bytearray()
        self._timeout: Optional[float] = None
        self._handle: Optional[Handle] = None
        self._readiness: Optional[Readiness] = None
        self._subsystem = False
        self._name = ""
        self._closed = False

    # --- starting ---

    def _call(self, what: Callable[[], _T]) -> _T:
        try:
            return what()
        except SshleaseError as e:
            raise self._translate(e) from None

    def _check_open(self) -> None:
        if self.closed:
            raise self._translate(SshleaseError("Channel is not open", target=self._lease.target, code=NO_STREAM))

    def _start(self, kind: int, command: str) -> None:
        self._check_open()
        if self._handle is not None:
            raise self._translate(SshleaseError("this channel runs something already", target=self._lease.target))
        bins = (self._out, self._out if self._combined else self._err)
        self._handle = self._call(lambda: self._lease._open(kind, command, self._pty, self._env, bins, WINDOW))

    def exec_command(self, command: Union[str, bytes]) -> None:
        self._start(wire.EXEC, command if isinstance(command, str) else command.decode("utf-8", "surrogateescape"))

    def invoke_shell(self) -> None:
        self._start(wire.SHELL, "")

    def invoke_subsystem(self, subsystem: str) -> None:
        self._subsystem = True
        self._start(wire.SUBSYSTEM, subsystem)

    def get_pty(self, term: str = "vt100", width: int = 80, height: int = 24, width_pixels: int = 0,
                height_pixels: int = 0) -> None:
        """Before the command, or the shell."""
        self._check_open()
        self._pty = Pty(term, width, height, width_pixels, height_pixels)

    def resize_pty(self, width: int = 80, height: int = 24, width_pixels: int = 0, height_pixels: int = 0) -> None:
        self._check_open()
        handle = self._running()
        with handle.link.lock:
            handle.session.send_size(handle.stream, width, height, width_pixels, height_pixels)
            handle.link.flush()

    def set_environment_variable(self, name: str, value: str) -> None:
        self._check_open()
        self._env[name] = value

    def update_environment(self, environment: Dict[str, str]) -> None:
        self._check_open()
        self._env.update(environment)

    def set_combine_stderr(self, combine: bool) -> bool:
        """Whether standard error comes with standard output from now on; what it was before."""
        before, self._combined = self._combined, combine
        if self._handle is not None:
            with self._handle.link.lock:
                if combine and not before:
                    self._out += self._err
                    self._err.clear()
                self._handle.stream.bins = (self._out, self._out if combine else self._err)
        return before

    # --- input and output ---

    def _running(self) -> Handle:
        if self._closed:
            raise OSError("Socket is closed")
        if self._handle is None:
            raise OSError("nothing runs on this channel yet: exec_command(), invoke_shell() or invoke_subsystem() first")
        return self._handle

    @property
    def _stream(self) -> Optional[Stream]:
        return None if self._handle is None else self._handle.stream

    def _deadline(self) -> Optional[float]:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _recv(self, source: bytearray, most: int) -> bytes:
        handle = self._handle
        if handle is None or self._closed and not source:
            return b""
        try:
            data = self._call(partial(handle.read_some, source, most, self._deadline()))
        except NoOrderlyEnd:
            data = b""  # as with paramiko: recv_exit_status() is -1, and nothing that came is lost
        if self._readiness is not None:
            self._readiness.refresh()
        if data is None:
            raise socket.timeout("timed out")
        return data

    def recv(self, nbytes: int) -> bytes:
        """Some of standard output; b"" at its end; socket.timeout when the channel's time runs out before."""
        return self._recv(self._out, nbytes)

    def recv_stderr(self, nbytes: int) -> bytes:
        return self._recv(self._err, nbytes)

    def _look(self) -> None:
        """Takes what has come, without waiting."""
        if self._handle is not None and not self._closed:
            self._handle.link.look()

    def recv_ready(self) -> bool:
        if not self._out:
            self._look()
        return bool(self._out)

    def recv_stderr_ready(self) -> bool:
        if not self._err:
            self._look()
        return bool(self._err)

    def send(self, s: Union[str, bytes, bytearray, memoryview]) -> int:
        """How much of it was sent: all, or what went before the channel's time ran out; socket.timeout where that is
        nothing. OSError when the command has ended."""
        raw = memoryview(s.encode() if isinstance(s, str) else s).cast("B")
        handle = self._running()
        if handle.stream.eof_sent:
            raise OSError("Socket is closed")
        done = self._call(lambda: handle.write_all(raw, self._deadline()))
        if raw and not done:
            raise socket.timeout("timed out")
        return done

    def sendall(self, s: Union[str, bytes, bytearray, memoryview]) -> None:
        size = len(s.encode() if isinstance(s, str) else memoryview(s).cast("B"))
        if self.send(s) < size:
            raise socket.timeout("timed out")

    def send_ready(self) -> bool:
        self._look()
        stream = self._stream
        return stream is not None and not self._closed and not stream.over and stream.credit_out > 0

    def shutdown_write(self) -> None:
        """No more input."""
        if self._handle is not None and not self._closed:
            self._handle.end_input()

    def shutdown_read(self) -> None:
        """What still comes is dropped."""
        if self._handle is not None:
            self._handle.drop_output(0)
            self._handle.drop_output(1)
            if self._readiness is not None:
                self._readiness.refresh()

    def shutdown(self, how: int) -> None:
        """0: reading, 1: writing, 2: both."""
        if how in (0, 2):
            self.shutdown_read()
        if how in (1, 2):
            self.shutdown_write()

    def close(self) -> None:
        """Ends what still runs on the far side. A subsystem is given the end of its input, and a moment."""
        if self._closed:
            return
        self._closed = True
        if self._handle is not None:
            if self._subsystem:
                self._handle.end_input()
                self._handle.link.wait(self._handle.stream.is_over, time.monotonic() + _SUBSYSTEM_SECONDS)
            self._handle.link.discard(self._handle.stream)

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """A descriptor that can be read while there is something to recv() or recv_stderr(), or nothing will come any
        more: for select() and poll(), not to be read from. From the first call on a thread keeps it so, and the lease is
        renewed as long as the command runs."""
        if self._readiness is None:
            handle = self._running()
            self._readiness = Readiness(handle.link, handle.stream, (self._out, self._err))
        return self._readiness.fileno()

    # --- the end ---

    def exit_status_ready(self) -> bool:
        self._look()
        stream = self._stream
        return self._closed or (stream is not None and stream.has_exited())

    def recv_exit_status(self) -> int:
        """Waits until the command has exited, whoever else has its output open. -1 when there is no exit status: it was
        killed by a signal or cut short, or the server says none."""
        if self._handle is None:
            return -1
        stream = self._handle.stream
        if not self._closed:
            self._handle.link.wait(stream.has_exited)
        return stream.exit_status if stream.has_exited() and stream.how == wire.END_STATUS else -1

    @property
    def status_event(self) -> "_StatusEvent":
        return _StatusEvent(self)

    @property
    def exit_status(self) -> int:
        """-1 until it is known."""
        return self.recv_exit_status() if self.exit_status_ready() else -1

    @property
    def closed(self) -> bool:
        """By close(), or by the server, which has said all it had to say: what has come can still be received."""
        self._look()
        stream = self._stream
        return self._closed or (stream is not None and stream.over)

    @property
    def active(self) -> bool:
        return not self.closed

    @property
    def eof_received(self) -> bool:
        self._look()
        stream = self._stream
        return stream is not None and stream.eof

    @property
    def eof_sent(self) -> bool:
        stream = self._stream
        return stream is not None and stream.eof_sent

    # --- what sockets have ---

    def settimeout(self, timeout: Optional[float]) -> None:
        """Seconds that receiving and sending may wait; None: for ever."""
        self._timeout = seconds("timeout", timeout)

    def gettimeout(self) -> Optional[float]:
        return self._timeout

    def setblocking(self, blocking: bool) -> None:
        self._timeout = None if blocking else 0.0

    def getpeername(self) -> Any:
        return self._transport.getpeername()

    def get_id(self) -> int:
        stream = self._stream
        return 0 if stream is None else stream.id

    chanid = property(get_id)
    timeout = property(gettimeout)

    @property
    def combine_stderr(self) -> bool:
        return self._combined

    @property
    def logger(self) -> Any:
        return self._transport.logger

    @property
    def transport(self) -> Any:
        return self._transport

    def set_name(self, name: str) -> None:
        self._name = name

    def get_name(self) -> str:
        return self._name

    def get_transport(self) -> Any:
        return self._transport

    def makefile(self, mode: str = "r", bufsize: int = -1) -> ChannelFile:
        return ChannelFile(self, mode, self.recv)

    def makefile_stderr(self, mode: str = "r", bufsize: int = -1) -> ChannelStderrFile:
        return ChannelStderrFile(self, mode, self.recv_stderr)

    def makefile_stdin(self, mode: str = "wb", bufsize: int = -1) -> ChannelStdinFile:
        return ChannelStdinFile(self, mode, self.recv)

    def __getattr__(self, name: str) -> NoReturn:
        missing("Channel", name)

    def __repr__(self) -> str:
        return f"<sshlease channel {self.get_id()} of {self._lease!r}>"


class _StatusEvent:
    """As much of threading.Event as programs use of a channel's."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def is_set(self) -> bool:
        return self._channel.exit_status_ready()

    def wait(self, timeout: Optional[float] = None) -> bool:
        handle = self._channel._handle
        if handle is not None and not self._channel._closed:
            handle.link.wait(handle.stream.has_exited, None if timeout is None else time.monotonic() + timeout)
        return self.is_set()
