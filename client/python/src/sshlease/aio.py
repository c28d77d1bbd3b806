# SPDX-License-Identifier: MIT
"""sshlease for asyncio.

    async with sshlease.aio.lease("web1") as c:
        result = await c.run("uname -a", timeout=10)

A task that is cancelled ends the command it was running on the far side. The lease is kept by the event loop: it is renewed
as long as the loop runs. A lease belongs to the loop it was taken in; any number of its tasks may use it at once. Otherwise
all is as in sshlease.Lease: the same arguments, the same results, the same exceptions.
"""

from __future__ import annotations

import asyncio
import codecs
import errno
import signal as signals
import socket as sockets
import time
import weakref
from typing import Any, AsyncIterator, Callable, Generator, List, Mapping, Optional, Tuple, Union, overload

from . import _label
from . import _wire as wire
from ._aiolink import AioLink
from ._autostart import start_daemon
from ._common import (ANSWER_SECONDS, CLOSE_SECONDS, END_SECONDS, PROGRAM, Command, Input, LeaseBase, SocketPath, Terminal,
                      Waiting, abandoned, caller, carry, command_line, encoded, environment, milliseconds, no_orderly_end,
                      seconds, terminal, timed_out)
from ._connect import CONNECT_SECONDS, attempt, failed, socket_for
from ._errors import (NO_LEASE, TIMEOUT, CommandTimeout, DaemonGone, LeaseEnded, NoDaemon, SshleaseError, error_for,
                      hidden)
from ._patience import TELL_SECONDS, Patience
from ._process import DEVNULL, PIPE, Bins, bins_for
from ._result import Result, returncode_of
from ._session import STREAM_WINDOW, Session, Stream, no_stream

__all__ = ["lease", "connect", "Lease", "Process", "Reader", "Writer"]
__tracebackhide__ = hidden


class _Leasing:
    """What lease() gives: `async with` it, or `await` it for a lease to be closed later."""

    def __init__(self, lease: "Lease", socket: SocketPath, autostart: bool, on_waiting: Optional[Waiting]) -> None:
        self._lease, self._socket, self._autostart, self._on_waiting = lease, socket, autostart, on_waiting

    def __await__(self) -> Generator[Any, None, "Lease"]:
        return self._lease._acquire(self._socket, self._autostart, self._on_waiting).__await__()

    async def __aenter__(self) -> "Lease":
        return await self

    async def __aexit__(self, *_: object) -> None:
        await self._lease.close()


def lease(target: str, *, timeout: Optional[float] = None, lease_timeout: Optional[float] = None,
          label: Optional[str] = None, socket: SocketPath = None, autostart: bool = False,
          on_waiting: Optional[Waiting] = None) -> _Leasing:
    """As sshlease.lease(): `async with aio.lease(…) as c:`, or `c = await aio.lease(…)` and `await c.close()`. Starting a
    daemon (autostart) is left to a thread of the loop's default executor."""
    return _Leasing(Lease(target, timeout, lease_timeout, label), socket, autostart, on_waiting)


connect = lease


async def _connect(path: str, target: str) -> sockets.socket:
    """As connect(), without blocking. A full backlog is no event: then the loop tries again."""
    deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
    sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while (error := attempt(sock, path, target)) == errno.EAGAIN and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        if error:
            raise failed(error, path, target)
    except BaseException:
        sock.close()
        raise
    return sock


class Lease(LeaseBase):
    """See sshlease.Lease. Made by lease()."""

    def __init__(self, target: str, timeout: Optional[float], lease_timeout: Optional[float],
                 label: Optional[str]) -> None:
        self.target = target
        self.label = label = _label.default() if label is None else label
        self._timeout, self._lease_timeout = seconds("timeout", timeout), lease_timeout
        self._start_session(timeout)
        self._where = caller()

    def _start_session(self, timeout: Optional[float]) -> None:
        self._session = Session(self.target)
        self._session.start(PROGRAM, milliseconds("timeout", timeout), milliseconds("lease_timeout", self._lease_timeout),
                            self.label)

    async def _acquire(self, socket: SocketPath, autostart: bool, on_waiting: Optional[Waiting]) -> "Lease":
        if hasattr(self, "_link"):
            raise RuntimeError("this lease was taken already")
        path = socket_for(socket, autostart, self.target)
        patience, left = Patience(path, self._timeout), self._timeout
        while True:
            self._start_session(left)  # one that was refused before says nothing of this
            try:
                await self._ask(path, autostart, patience, on_waiting)
                return self
            except DaemonGone as e:  # nothing was sent
                pause = patience.pause(e)
            await asyncio.sleep(pause)
            left = patience.left()

    async def _ask(self, path: str, autostart: bool, patience: Patience, on_waiting: Optional[Waiting]) -> None:
        try:
            sock = await _connect(path, self.target)
        except NoDaemon:
            if not autostart:
                raise
            sock = await asyncio.get_running_loop().run_in_executor(None, start_daemon, path, self.target)
        self._link = link = AioLink(sock, self._session)
        self._finalizer = weakref.finalize(self, abandoned, link.drop, self.target, self._where)
        try:
            await self._await_grant(path, patience, on_waiting)
        except BaseException:
            self._finalizer.detach()
            link.close()
            raise

    async def _await_grant(self, path: str, patience: Patience, on_waiting: Optional[Waiting]) -> None:
        session, link, now = self._session, self._link, asyncio.get_running_loop().time()
        greeted = await link.wait(lambda: bool(session.daemon) or session.is_over(), now + ANSWER_SECONDS)
        left = patience.left()
        deadline = None if left is None else now + left + ANSWER_SECONDS
        told = 0
        while greeted:
            while told < len(session.waiting):
                if on_waiting is not None:
                    on_waiting(*session.waiting[told])
                told += 1
            if session.is_decided():
                break
            if session.leaving is not None:
                await self._await_end(patience, on_waiting)
                break
            greeted = await link.wait(lambda: session.has_news(told), deadline)
        if not greeted and not session.is_over():
            raise error_for(TIMEOUT, f"sshleased at {path} does not answer", target=self.target, unsent=True)
        if session.is_over():
            raise session.error()

    async def _await_end(self, patience: Patience, on_waiting: Optional[Waiting]) -> None:
        session, link, now = self._session, self._link, asyncio.get_running_loop().time()
        assert session.leaving is not None
        left = patience.left()
        if on_waiting is not None and patience.is_long():
            if not await link.wait(session.is_over, now + TELL_SECONDS):
                on_waiting(0, time.monotonic() - patience.began, session.leaving[1])
        if not await link.wait(session.is_over, None if left is None else now + left):
            raise patience.late(session.leaving[1], self.target)

    async def renew(self, lease_timeout: Optional[float] = None) -> float:
        """The lease lasts for so many seconds from now (None: as when it was asked for). How long it really lasts."""
        session = self._session
        rid = session.ask_renewal(milliseconds("lease_timeout", lease_timeout))
        try:
            answered = await self._link.wait(lambda: session.renewed[rid] is not None,
                                             asyncio.get_running_loop().time() + ANSWER_SECONDS)
        finally:
            answer = session.renewed.pop(rid)
        if not answered:
            raise error_for(TIMEOUT, "sshleased does not answer a renewal", target=self.target)
        if isinstance(answer, tuple):
            raise session.error(session.why or answer)
        assert answer is not None
        return answer

    async def close(self) -> None:
        """Gives the connection back: to the pool if every command has ended by itself. Twice is fine. Raises nothing but
        CancelledError, and then the lease has ended all the same."""
        if self._finalizer.detach() is None:
            return
        now = asyncio.get_running_loop().time
        try:
            if not self._session.gave_up:
                await self._link.wait(self._session.nothing_ends, now() + END_SECONDS)
            if self._session.gave_up:
                return
            self._session.release()
            self._link.changed()
            await self._link.wait(self._session.is_over, now() + CLOSE_SECONDS)
        finally:
            self._link.close()

    async def __aenter__(self) -> "Lease":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @overload
    async def run(self, command: Command, *, input: Optional[Input] = ..., timeout: Optional[float] = ...,
                  env: Optional[Mapping[str, str]] = ..., pty: Terminal = ..., check: bool = ..., encoding: str = ...,
                  errors: str = ...) -> Result[str]: ...

    @overload
    async def run(self, command: Command, *, input: Optional[Input] = ..., timeout: Optional[float] = ...,
                  env: Optional[Mapping[str, str]] = ..., pty: Terminal = ..., check: bool = ..., encoding: None,
                  errors: str = ...) -> Result[bytes]: ...

    async def run(self, command: Command, *, input: Optional[Input] = None, timeout: Optional[float] = None,
                  env: Optional[Mapping[str, str]] = None, pty: Terminal = False, check: bool = False,
                  encoding: Optional[str] = "utf-8", errors: str = "replace") -> Result[Any]:
        """As sshlease.Lease.run(). Cancelled, it ends the command on the far side."""
        line = command_line(command)
        data = None if input is None else encoded(input, encoding, errors)
        timeout = seconds("timeout", timeout)
        out, err = bytearray(), bytearray()
        link = self._link
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        stream = self._session.open(wire.EXEC, line, terminal(pty), environment(env), bins=(out, err), collect=True,
                                    eof=not data)
        try:
            if data:
                await _give_input(link, stream, data, deadline)
                self._session.send_eof(stream)
            if not await link.wait(stream.is_over, deadline):
                raise timed_out(line, timeout, self.target, out, err, encoding)
        finally:
            link.discard(stream)
        if stream.why is not None or stream.how == wire.END_UNKNOWN:
            raise carry(await self._no_result(stream), out, err, encoding)
        result: Result[Any] = Result(line, self.target, stream, bytes(out), bytes(err), encoding, errors)
        return result.check() if check else result

    async def _no_result(self, stream: Stream) -> SshleaseError:
        if stream.why is not None:
            return self._session.error(stream.why)
        try:
            await self.renew()
        except LeaseEnded as e:
            if e.code != NO_LEASE:
                return e
        except SshleaseError:
            pass
        return no_orderly_end(stream, self.target)

    async def output(self, command: Command, *, input: Optional[Input] = None, timeout: Optional[float] = None,
                     env: Optional[Mapping[str, str]] = None, pty: Terminal = False, encoding: str = "utf-8",
                     errors: str = "replace") -> str:
        """As sshlease.Lease.output()."""
        return (await self.run(command, input=input, timeout=timeout, env=env, pty=pty, check=True, encoding=encoding,
                               errors=errors)).stdout

    async def popen(self, command: Command, *, stdin: int = PIPE, stdout: int = PIPE, stderr: int = PIPE,
                    env: Optional[Mapping[str, str]] = None, pty: Terminal = False, encoding: Optional[str] = None,
                    errors: str = "strict", window: int = STREAM_WINDOW) -> "Process":
        """As sshlease.Lease.popen(); `async with await c.popen(…) as p:`."""
        return await self._start(wire.EXEC, command_line(command), stdin, stdout, stderr, env, pty, encoding, errors, window)

    async def shell(self, *, pty: Terminal = True, env: Optional[Mapping[str, str]] = None,
                    encoding: Optional[str] = None, errors: str = "strict") -> "Process":
        """As sshlease.Lease.shell()."""
        return await self._start(wire.SHELL, "", PIPE, PIPE, PIPE, env, pty, encoding, errors, STREAM_WINDOW)

    async def subsystem(self, name: str, *, window: int = STREAM_WINDOW) -> "Process":
        """As sshlease.Lease.subsystem()."""
        return await self._start(wire.SUBSYSTEM, name, PIPE, PIPE, DEVNULL, None, False, None, "strict", window)

    async def _start(self, kind: int, command: str, stdin: int, stdout: int, stderr: int, env: Optional[Mapping[str, str]],
                     pty: Terminal, encoding: Optional[str], errors: str, window: int) -> "Process":
        if stdin not in (PIPE, DEVNULL) or not 1024 <= window <= wire.WINDOW_MAX:
            raise ValueError(f"stdin is PIPE or DEVNULL; the window has 1024 to {wire.WINDOW_MAX} bytes")
        bins = bins_for(stdout, stderr)
        stream = self._session.open(kind, command, terminal(pty), environment(env), window=window, bins=bins, collect=False,
                                    eof=stdin == DEVNULL)
        try:
            await self._link.wait(stream.is_decided)
        except BaseException:
            self._link.discard(stream)
            raise
        if stream.why is not None:
            raise self._session.error(stream.why)
        return Process(self, stream, command, stdin == PIPE, bins, encoding, errors)


async def _give_input(link: AioLink, stream: Stream, data: memoryview, deadline: Optional[float]) -> memoryview:
    """Sends the input as there is credit and room for it. What is left of it: nothing, unless the stream or the time
    ended."""
    while data and not stream.over:
        if not await link.wait(lambda: stream.over or link.session.room(stream) > 0, deadline):
            break
        data = data[link.session.send(stream, data):]
    return data


class Writer:
    """A process' standard input."""

    def __init__(self, process: "Process", encoding: Optional[str], errors: str) -> None:
        self._process, self._encoding, self._errors = process, encoding, errors

    async def write(self, data: Union[str, bytes, bytearray, memoryview]) -> None:
        """Returns when all of it is on its way. BrokenPipeError when the command has ended."""
        raw = data.encode(self._encoding or "utf-8", self._errors) if isinstance(data, str) else data
        process = self._process
        stream, link = process._stream, process._link
        if stream.eof_sent:
            raise ValueError("write to closed file")
        if await _give_input(link, stream, memoryview(raw).cast("B"), None):
            if stream.why is None:
                raise BrokenPipeError(errno.EPIPE, "the command has ended already")
            raise no_stream(process._lease.target, stream, link.session)
        await link.wait(lambda: not link.session.out or stream.over)

    def close(self) -> None:
        """No more input."""
        self._process._link.session.send_eof(self._process._stream)
        self._process._link.flush()


class Reader:
    """One of a process' outputs; `async for` gives its lines."""

    def __init__(self, process: "Process", source: bytearray, encoding: Optional[str], errors: str) -> None:
        self._process, self._source = process, source
        self._encoding, self._errors = encoding, errors
        self._decoder = codecs.getincrementaldecoder(encoding)(errors) if encoding else None

    async def _take(self, most: int, line: bool = False) -> bytes:
        """What is there, at most so much of it (and of one line), waiting for the first; b"" at the end."""
        process, source = self._process, self._source
        stream, link = process._stream, process._link
        await link.wait(lambda: bool(source) or stream.eof or stream.over)
        if line:
            most = min(most, source.find(b"\n") + 1 or most)
        data = bytes(source[:most])
        if not data:
            if stream.over and (stream.why is not None or stream.how == wire.END_UNKNOWN):
                raise await process._lease._no_result(stream)
            return b""
        del source[:len(data)]
        if not stream.collect:
            link.session.took(stream, len(data))
            link.flush()
        return data

    def _decoded(self, data: bytes, final: bool) -> Any:
        return data if self._decoder is None else self._decoder.decode(data, final)

    async def read(self, most: int = -1) -> Any:
        """Everything to the end; or what is there, at most so many bytes of it, waiting for the first. Empty at the end.
        Text where an encoding was asked for: perhaps empty then, when only half a character has come."""
        if most >= 0:
            data = await self._take(most)
            return self._decoded(data, not data)
        parts: List[bytes] = []
        await self._collect(parts)
        return self._decoded(b"".join(parts), True)

    async def _collect(self, parts: List[bytes]) -> None:
        try:
            while data := await self._take(1 << 20):
                parts.append(data)
        except SshleaseError as error:
            raise self._carrying(error, b"".join(parts))

    async def readline(self) -> Any:
        """A line with its end; the last may have none; empty at the end. Where that is none, the part of a line before it
        is given as it is, and the next call raises."""
        parts: List[bytes] = []
        cut: Optional[SshleaseError] = None
        while not (parts and parts[-1].endswith(b"\n")):
            try:
                data = await self._take(1 << 20, line=True)
            except SshleaseError as error:
                if not parts:
                    raise
                data, cut = b"", error
            if not data:
                break
            parts.append(data)
        try:
            return self._decoded(b"".join(parts), True)
        except UnicodeDecodeError:
            if cut is None:
                raise
            raise self._carrying(cut, b"".join(parts)) from None  # a character that was cut in two

    def _carrying(self, error: SshleaseError, got: bytes) -> SshleaseError:
        own = self._source is self._process._bins[0]
        return carry(error, got if own else None, None if own else got, self._encoding)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while line := await self.readline():
            yield line


class Process:
    """As sshlease.Process; `stdin` is a Writer, `stdout` and `stderr` are Readers. Ended when it is collected, at the
    latest."""

    def __init__(self, lease: Lease, stream: Stream, args: str, stdin: bool, bins: Bins, encoding: Optional[str],
                 errors: str) -> None:
        self._lease, self._link, self._stream, self._bins = lease, lease._link, stream, bins
        weakref.finalize(self, self._link.discard_later, stream).atexit = False  # the lease ends then, and this with it
        self.args, self._encoding, self._errors = args, encoding, errors
        self.returncode: Optional[int] = None
        self._unsent = memoryview(b"")  # of communicate()'s input
        out, err = bins
        self.stdin = Writer(self, encoding, errors) if stdin else None
        self.stdout = Reader(self, out, encoding, errors) if out is not None else None
        self.stderr = Reader(self, err, encoding, errors) if err is not None and err is not out else None

    @property
    def signal(self) -> str:
        """The name ("TERM") of the signal that killed it, else ""."""
        return self._stream.signal

    async def wait(self, timeout: Optional[float] = None) -> int:
        """Waits until it has exited, for `timeout` seconds at most: then CommandTimeout, and it runs on."""
        timeout = seconds("timeout", timeout)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        return await self._await(self._stream.has_exited, deadline, timeout)

    async def poll(self) -> Optional[int]:
        """The returncode if it has exited, else None; waits for nothing. Raises if it was cut short."""
        self._link.look()
        return await self._await(self._stream.has_exited, None, None) if self._stream.has_exited() else None

    async def _await(self, done: Callable[[], bool], deadline: Optional[float], timeout: Optional[float]) -> int:
        stream = self._stream
        if not await self._link.wait(done, deadline):
            assert timeout is not None
            raise CommandTimeout(self.args, timeout, target=self._lease.target)
        if stream.discarded or stream.why is not None or stream.how == wire.END_UNKNOWN:
            raise await self._lease._no_result(stream)
        self.returncode = returncode_of(stream)
        return self.returncode

    async def communicate(self, input: Union[str, bytes, None] = None, timeout: Optional[float] = None) -> Tuple[Any, Any]:
        """Sends the input, ends it, reads both outputs to their end, and waits for the end of the command. After
        `timeout` seconds, or cancelled, it runs on, and calling again goes on where that was: with the rest of the input,
        and nothing of the output lost. What it raises has the output that nobody had read."""
        timeout = seconds("timeout", timeout)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        stream, link = self._stream, self._link
        out, err = self._bins
        if not stream.collect:
            stream.collect = True
            link.session.took(stream, len(out or b"") + (len(err or b"") if err is not out else 0))
        if self.stdin is not None:
            if input is not None and not self._unsent and not stream.eof_sent:
                self._unsent = encoded(input, self._encoding or "utf-8", self._errors)
            while self._unsent and not stream.over:
                if not await link.wait(lambda: stream.over or link.session.room(stream) > 0, deadline):
                    break
                self._unsent = self._unsent[link.session.send(stream, self._unsent):]
            if not self._unsent or stream.over:
                self.stdin.close()
        try:
            await self._await(stream.is_over, deadline, timeout)
        except SshleaseError as error:
            raise carry(error, out, err if err is not out else None, self._encoding)
        return (None if self.stdout is None else await self.stdout.read(),
                None if self.stderr is None else await self.stderr.read())

    def send_signal(self, number: Union[int, str]) -> None:
        """A signal by number or name. The server may ignore it, and does not say so."""
        name = number if isinstance(number, str) else signals.Signals(number).name
        name = name[3:] if name.startswith("SIG") else name
        if not 1 <= len(name) <= wire.NAME_MAX or "\0" in name:
            raise ValueError(f"no name of a signal: {name!r}")
        self._link.session.send_signal(self._stream, name)
        self._link.flush()

    def terminate(self) -> None:
        self.send_signal("TERM")

    def kill(self) -> None:
        self.send_signal("KILL")

    def resize(self, cols: int, rows: int, width_px: int = 0, height_px: int = 0) -> None:
        """The terminal's new size."""
        self._link.session.send_size(self._stream, cols, rows, width_px, height_px)
        self._link.flush()

    def close(self) -> None:
        """Ends it on the far side if it still runs. Does not wait."""
        self._link.discard(self._stream)

    def _drop_output(self) -> None:
        """What nobody read is dropped, so that nobody waits for it."""
        out, err = self._bins
        waiting = len(out or b"") + (len(err or b"") if err is not out else 0)
        self._stream.bins = (None, None)
        for one in self._bins:
            if one is not None:
                one.clear()
        if not self._stream.collect:
            self._link.session.took(self._stream, waiting)

    async def __aenter__(self) -> "Process":
        return self

    async def __aexit__(self, kind: Optional[type], *_: object) -> None:
        try:
            if kind is None:
                if self.stdin is not None:
                    self.stdin.close()
                self._drop_output()
                await self._await(self._stream.is_over, None, None)
        finally:
            self.close()
