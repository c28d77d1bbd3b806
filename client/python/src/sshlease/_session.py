# SPDX-License-Identifier: MIT
"""One lease and its streams as the protocol sees them: bytes in, state and bytes out. Does no input or output, knows no
lock and no thread; _link.py (blocking) and aio.py drive it.

    ASKING -> GRANTED -> RELEASING -> OVER      OVER is final: a session is one lease. `why` says how it came to that.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from . import _wire as wire
from ._errors import DAEMON_GONE, NO_LEASE, NO_STREAM, PROTOCOL, SHUTDOWN, SshleaseError, VERSION, error_for, hidden
from ._history import History, Record

__tracebackhide__ = hidden

ASKING, GRANTED, RELEASING, OVER = "asking", "granted", "releasing", "over"
NEVER = float("inf")

# The first credit of a stream: so much of its output waits here at most while nobody reads it.
STREAM_WINDOW = 262144
# Data waits for the daemon in the out-buffer up to this.
OUT_MAX = 131072
# Renewing cannot help once the lease's end is this close to the longest allowed (seconds).
_RENEW_SLACK = 0.05

Why = Tuple[int, str, bool]  # code, text, unsent


class Stream:
    """A command, shell or subsystem, running or ended. `bins`: where standard output and standard error go; None drops.
    `collect`: what comes counts as read at once, whatever its size."""

    __slots__ = ("id", "rid", "bins", "collect", "window", "credit_in", "pending", "credit_out", "opened", "over", "eof",
                 "eof_sent", "discarded", "exited", "why", "how", "exit_status", "signal", "core_dumped", "text", "record")

    def __init__(self, number: int, rid: int, window: int, bins: Tuple[Optional[bytearray], Optional[bytearray]],
                 collect: bool, record: Record) -> None:
        self.record = record
        self.id, self.rid, self.window, self.bins, self.collect = number, rid, window, bins, collect
        self.credit_in, self.pending, self.credit_out = window, 0, 0
        self.opened = self.over = self.eof = self.eof_sent = self.discarded = False
        self.exited = False  # how the command ended is known, though its output may go on
        self.why: Optional[Why] = None  # it ended without STREAM_END: why
        self.how, self.exit_status = wire.END_UNKNOWN, 0
        self.signal, self.core_dumped, self.text = "", False, ""

    def is_over(self) -> bool:
        return self.over

    def has_exited(self) -> bool:
        """Whether there is nothing to wait for any more that could say how the command ended."""
        return self.exited or self.over

    def is_ending(self) -> bool:
        """Whether the word that it is over must be on its way, unless a child of the command has its output open."""
        return self.eof or self.exited

    def is_decided(self) -> bool:
        """Whether the server has accepted or refused it."""
        return self.opened or self.over

    def can_send(self) -> bool:
        return self.credit_out > 0 or self.over


class Session:
    """Frames appended to `out` are for the daemon; who drives the session takes them from its front."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.state = ASKING
        self.why: Optional[Why] = None
        self.daemon = ""  # what WELCOME said
        self.version = 0
        self.out = bytearray()
        self.lease_id = 0
        # A command was ended before it was over. Children that it has detached are found when the lease is reclaimed, not
        # when it is given back.
        self.gave_up = False
        self.streams_max = 0
        self.waiting: List[Tuple[int, float, str]] = []  # WAITING: position, seconds waited, reason
        # The daemon is shutting down, and has refused; the session is over when it has ended.
        self.leaving: Optional[Why] = None
        self.streams: Dict[int, Stream] = {}
        self.history = History()
        self.renew_at = self.deadline = self.max_deadline = NEVER  # of time.monotonic()
        self.renewed: Dict[int, Union[None, float, Why]] = {}  # answers to RENEW by request id; None: outstanding
        self._in = b""
        self._rid = self._stream = 0
        self._acquire_rid = self._release_rid = self._auto_rid = 0
        self._handlers: Dict[int, Callable[..., None]] = {
            wire.WELCOME: self._on_welcome, wire.OK: self._on_ok, wire.ERROR: self._on_error,
            wire.WAITING: self._on_waiting, wire.GRANTED: self._on_granted, wire.RENEWED: self._on_renewed,
            wire.LEASE_ENDED: self._on_lease_ended, wire.STREAM_OPENED: self._on_opened, wire.DATA: self._on_data,
            wire.WINDOW: self._on_window, wire.EOF: self._on_eof, wire.EXITED: self._on_exited, wire.STREAM_END: self._on_stream_end,
        }

    # --- what the caller asks for ---

    def _next_rid(self) -> int:
        self._rid = self._rid % 0xFFFFFFFF + 1
        return self._rid

    def start(self, program: str, timeout_ms: int, lease_timeout_ms: int, label: str) -> None:
        """HELLO and ACQUIRE, in one go. ValueError for a name the protocol does not take."""
        check_text("the target's name", self.target, wire.NAME_MAX, least=1)
        check_text("the label", label, wire.NAME_MAX)
        self._acquire_rid = self._next_rid()
        self.out += wire.encode(wire.HELLO, wire.MAGIC, wire.VERSION_MIN, wire.VERSION, program)
        self.out += wire.encode(wire.ACQUIRE, self._acquire_rid, self.target, timeout_ms, lease_timeout_ms, label)

    def is_decided(self) -> bool:
        return self.state is not ASKING

    def has_news(self, told: int) -> bool:
        """Whether there is something to tell whoever waits for the lease and was told so many of `waiting`."""
        return self.state is not ASKING or self.leaving is not None or len(self.waiting) > told

    def is_over(self) -> bool:
        return self.state is OVER

    def nothing_ends(self) -> bool:
        """Whether of no stream the word that it is over must be on its way."""
        return self.state is OVER or not any(stream.is_ending() for stream in self.streams.values())

    def error(self, why: Optional[Why] = None) -> SshleaseError:
        """`why` as an exception; without it, why the lease is over."""
        code, text, unsent = why or self.why or (NO_LEASE, "there is no lease", True)
        return error_for(code, text, target=self.target, unsent=unsent, held=self.lease_id != 0)

    def open(self, kind: int, command: str, pty: Optional[wire.Pty], env: wire.Env, *, window: int = STREAM_WINDOW,
             bins: Tuple[Optional[bytearray], Optional[bytearray]], collect: bool, eof: bool = False) -> Stream:
        """STREAM_OPEN, with EOF right behind it if asked for. Raises why the lease is over, or ValueError."""
        if self.state is not GRANTED:
            raise self.error()
        _check_command(kind, command, pty, env, self.version)
        rid, number = self._next_rid(), self._stream % 0xFFFFFFFF + 1
        frame = wire.encode(wire.STREAM_OPEN, rid, number, kind, command, window, pty, env)
        if len(frame) > wire.FRAME_MAX:
            raise ValueError("the command and its environment are too long together")
        stream = Stream(number, rid, window, bins, collect, self.history.begin(_record_text(kind, command)))
        self._stream = number
        self.streams[number] = stream
        self.out += frame
        if eof:
            stream.eof_sent = True
            self.out += wire.encode(wire.EOF, number)
        return stream

    def room(self, stream: Stream) -> int:
        """Bytes of input that can be queued for the stream now."""
        return min(stream.credit_out, OUT_MAX - len(self.out))

    def send(self, stream: Stream, data: memoryview) -> int:
        """Queues what there is room for; how much that was. 0 when the stream is over."""
        if stream.over:
            return 0
        done = 0
        while done < len(data):
            count = min(len(data) - done, wire.DATA_MAX, self.room(stream))
            if count <= 0:
                break
            self.out += wire.HEAD.pack(count + 16, wire.DATA)
            self.out += wire.U32.pack(stream.id) + b"\0\0\0\0" + wire.U32.pack(count)
            self.out += data[done:done + count]
            stream.credit_out -= count
            done += count
        return done

    def send_eof(self, stream: Stream) -> None:
        if not stream.eof_sent and not stream.over:
            stream.eof_sent = True
            self.out += wire.encode(wire.EOF, stream.id)

    def send_signal(self, stream: Stream, name: str) -> None:
        if not stream.over:
            self.out += wire.encode(wire.SIGNAL, stream.id, name)

    def send_size(self, stream: Stream, cols: int, rows: int, width_px: int, height_px: int) -> None:
        if not stream.over:
            self.out += wire.encode(wire.WINDOW_CHANGE, stream.id, cols, rows, width_px, height_px)

    def discard(self, stream: Stream) -> None:
        """Nobody wants it any more: what still runs is ended on the far side, what it still says is dropped."""
        if stream.over or stream.discarded:
            return
        stream.discarded = True
        if stream.exited:
            stream.record.end(stream.exit_status if stream.how == wire.END_STATUS else None, stream.signal)
        elif not stream.eof:  # else it has ended, as good as: the word how is on its way
            self.gave_up = True
            stream.record.end(reason="closed before its end")
        for one in stream.bins:
            if one:
                stream.pending += 0 if stream.collect else len(one)
                one.clear()
        stream.bins = (None, None)
        self.out += wire.encode(wire.CLOSE, stream.id)

    def took(self, stream: Stream, count: int) -> None:
        """So much of the output was read. Gives new credit once half of it is pending."""
        stream.pending += count
        if stream.pending * 2 >= stream.window and not stream.over:
            self.out += wire.encode(wire.WINDOW, stream.id, stream.pending)
            stream.credit_in += stream.pending
            stream.pending = 0

    def ask_renewal(self, lease_timeout_ms: int) -> int:
        """RENEW; its answer will be in `renewed` under the number returned."""
        if self.state is not GRANTED:
            raise self.error()
        rid = self._next_rid()
        self.renewed[rid] = None
        self.out += wire.encode(wire.RENEW, rid, lease_timeout_ms)
        return rid

    def tick(self, now: float) -> None:
        """The automatic renewal, when it is due."""
        if now >= self.renew_at:
            self._auto_rid = self._next_rid()
            self.renew_at = NEVER  # the answer plans the next
            self.out += wire.encode(wire.RENEW, self._auto_rid, 0)

    def release(self) -> None:
        """RELEASE, if there is a lease; OVER once it is answered. The streams are over at once."""
        if self.state is not GRANTED:
            return
        self._release_rid = self._next_rid()
        self.out += wire.encode(wire.RELEASE, self._release_rid)
        self.state = RELEASING
        self.renew_at = NEVER
        self._end_streams((NO_LEASE, "the lease was given back", False))

    def end(self, code: int, text: str, unsent: Optional[bool] = None) -> None:
        """There is no link any more, or no lease: whatever waits for something is told. The first end counts."""
        if self.state is OVER:
            return
        why = (code, text, self.state is ASKING if unsent is None else unsent)
        if self.leaving is not None and code == DAEMON_GONE:
            why = self.leaving
        self.state, self.why = OVER, why
        self.renew_at = NEVER
        for rid, answer in self.renewed.items():
            if answer is None:
                self.renewed[rid] = why
        self._end_streams(why)

    def _end_streams(self, why: Why) -> None:
        for stream in self.streams.values():
            stream.why, stream.over = why, True
            stream.record.end(reason=why[1])
        self.streams.clear()

    # --- what the daemon says ---

    def feed(self, data: bytes) -> None:
        """Takes what was received: whole frames have their effect, the rest waits. A violation ends the session."""
        if self._in:
            data = self._in + data
        at, end = 0, len(data)
        try:
            while (found := wire.next_frame(data, at, end)) is not None:
                number, behind = found
                handler = self._handlers.get(number)
                if handler is None or wire.SINCE.get(number, 0) > self.version:
                    raise wire.Violation(f"{wire.NAMES.get(number, number)} out of turn")
                handler(*wire.DECODERS[number](data, at + 8, behind))
                at = behind
        except wire.Violation as e:
            self._in = b""
            self.end(PROTOCOL, f"what listens there does not speak sshlease's protocol: {e}")
            return
        self._in = data[at:] if at < end else b""

    def _on_welcome(self, version: int, daemon: str) -> None:
        if self.daemon:
            raise wire.Violation("WELCOME out of turn")
        if not wire.VERSION_MIN <= version <= wire.VERSION:
            self.end(VERSION, f"sshleased speaks version {version} of the protocol, this program {wire.VERSION_MIN} to "
                              f"{wire.VERSION}")
        self.version = version
        self.daemon = daemon or "sshleased"

    def _on_ok(self, rid: int) -> None:
        if rid == self._release_rid:
            self.end(NO_LEASE, "the lease was given back", False)

    def _on_error(self, rid: int, code: int, unsent: bool, text: str) -> None:
        why = (code, text, unsent)
        if rid == 0:
            self.end(*why)
        elif rid == self._acquire_rid:
            self._acquire_rid = 0
            if code == SHUTDOWN:
                self.leaving = why
            else:
                self.end(*why)
        elif rid == self._release_rid:
            self.end(*why)
        elif rid in self.renewed:
            self.renewed[rid] = why
        elif rid != self._auto_rid:  # if the lease is over, LEASE_ENDED says so
            for stream in self.streams.values():
                if stream.rid == rid and not stream.opened:
                    del self.streams[stream.id]
                    stream.why, stream.over = why, True
                    stream.record.end(reason=text)
                    break

    def _on_waiting(self, rid: int, position: int, waited_ms: int, reason: str) -> None:
        if rid == self._acquire_rid:
            self.waiting.append((position, waited_ms / 1000, reason))

    def _on_granted(self, rid: int, lease: int, lease_timeout_ms: int, max_lease_ms: int, streams: int) -> None:
        if rid != self._acquire_rid or self.state is not ASKING:
            raise wire.Violation("GRANTED out of turn")
        self._acquire_rid = 0
        self.state, self.lease_id, self.streams_max = GRANTED, lease, streams
        now = time.monotonic()
        self.max_deadline = now + max_lease_ms / 1000
        self._plan_renewal(now, lease_timeout_ms)

    def _on_renewed(self, rid: int, lease_timeout_ms: int) -> None:
        if rid in self.renewed:
            self.renewed[rid] = lease_timeout_ms / 1000
        if self.state is GRANTED:
            self._plan_renewal(time.monotonic(), lease_timeout_ms)

    def _plan_renewal(self, now: float, left_ms: int) -> None:
        self.deadline = now + left_ms / 1000
        if self.deadline + _RENEW_SLACK >= self.max_deadline:
            self.renew_at = NEVER
        else:
            self.renew_at = now + left_ms / 3000

    def _on_lease_ended(self, lease: int, code: int, text: str) -> None:
        if self.state not in (GRANTED, RELEASING) or lease != self.lease_id:
            raise wire.Violation("LEASE_ENDED out of turn")
        self.end(code, text, False)

    def _on_opened(self, rid: int, number: int, window: int) -> None:
        stream = self.streams.get(number)
        if stream is not None and stream.rid == rid:
            stream.opened = True
            stream.credit_out += window
        else:
            self._check_known(number)

    def _on_data(self, number: int, fd: int, data: bytes) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._check_known(number)
            return
        if len(data) > stream.credit_in:
            raise wire.Violation("DATA beyond the credit")
        stream.credit_in -= len(data)
        one = stream.bins[fd]
        if one is not None:
            one += data
        if one is None or stream.collect:
            self.took(stream, len(data))

    def _on_window(self, number: int, count: int) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._check_known(number)
        elif stream.credit_out + count > wire.WINDOW_MAX:
            raise wire.Violation("WINDOW beyond the credit allowed")
        else:
            stream.credit_out += count

    def _on_eof(self, number: int) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._check_known(number)
        else:
            stream.eof = True

    def _on_exited(self, number: int, how: int, exit_status: int, signal: str, core_dumped: bool) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._check_known(number)
            return
        stream.exited = True
        stream.how, stream.exit_status, stream.signal, stream.core_dumped = how, exit_status, signal, core_dumped

    def _on_stream_end(self, number: int, how: int, exit_status: int, signal: str, core_dumped: bool, text: str) -> None:
        stream = self.streams.pop(number, None)
        if stream is None:
            self._check_known(number)
            return
        stream.how, stream.exit_status, stream.signal = how, exit_status, signal
        stream.core_dumped, stream.text = core_dumped, text
        # Dropped with its output at an end, it had to be ended all the same.
        self.gave_up = self.gave_up or (stream.discarded and how != wire.END_STATUS)
        stream.over = stream.eof = True
        stream.record.end(exit_status if how == wire.END_STATUS else None, signal, text)

    def _check_known(self, number: int) -> None:
        """About a stream that was over for us first is fine; about one that never was is not."""
        if not 1 <= number <= self._stream:
            raise wire.Violation(f"about stream {number}, which nobody opened")


def check_text(what: str, text: str, most: int, least: int = 0) -> None:
    """ValueError for what the protocol does not take as a text, TypeError for what is none."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is {text!r}; it may be a text")
    size = len(text) if text.isascii() else len(wire.to_bytes(text))
    if not least <= size <= most:
        raise ValueError(f"{what} has {size} bytes; it may have {least} to {most}")
    if "\0" in text:
        raise ValueError(f"{what} has a NUL in it")


def _record_text(kind: int, command: str) -> str:
    return command if kind == wire.EXEC else f"(subsystem {command})" if kind == wire.SUBSYSTEM else "(login shell)"


def _check_command(kind: int, command: str, pty: Optional[wire.Pty], env: wire.Env, version: int) -> None:
    if kind == wire.EXEC:
        check_text("the command", command, wire.COMMAND_MAX if version >= 3 else wire.COMMAND_MAX_V2, least=1)
    elif kind == wire.SUBSYSTEM:
        check_text("the subsystem's name", command, wire.NAME_MAX, least=1)
    if pty is not None:
        check_text("the terminal's name", pty.term, wire.NAME_MAX)
        if len(pty.modes) > wire.MODES_MAX:
            raise ValueError(f"{len(pty.modes)} bytes of terminal modes are more than {wire.MODES_MAX}")
    if len(env) > wire.ENV_MAX:
        raise ValueError(f"{len(env)} environment variables are more than {wire.ENV_MAX}")
    for name, value in env:
        check_text("an environment variable's name", name, wire.NAME_MAX, least=1)
        check_text(name, value, wire.ENV_VALUE_MAX)


def no_stream(target: str, stream: Stream, session: Session) -> SshleaseError:
    """What sending to a stream that has ended raises."""
    if stream.why is not None:
        return session.error(stream.why)
    return error_for(NO_STREAM, "the command has ended already", target=target, unsent=True)


def gone(session: Session, detail: Any = "") -> None:
    """The daemon closed the socket."""
    session.end(DAEMON_GONE, f"sshleased closed the connection{detail}")
