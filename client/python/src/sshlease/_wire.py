# SPDX-License-Identifier: MIT
"""Frames and messages of the native protocol, versions 1 to 3: bytes to tuples and back. Does no input or output.

One table says what each message holds; encoders and decoders are made of it when the module is imported. A decoder checks
everything PROTOCOL.md calls a violation of the body. tests/vectors checks this file and the C code alike. Of version 2
nothing is spoken here.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

MAGIC = "sshlease"
VERSION_MIN, VERSION = 1, 3
FRAME_MAX = 262144
DATA_MAX = 32768
WINDOW_MAX = 16777216
COMMAND_MAX, COMMAND_MAX_V2 = 262000, 131072  # the latter before version 3
NAME_MAX = 255
TEXT_MAX = 4096
ENV_MAX = 128
ENV_VALUE_MAX = 32768
MODES_MAX = 1024
JSON_MAX = 131072
STREAMS_MAX = 64
CODE_MAX = 255

EXEC, SHELL, SUBSYSTEM = 1, 2, 3
END_STATUS, END_SIGNAL, END_UNKNOWN = 0, 1, 2  # how a stream ended

HELLO, ACQUIRE, RENEW, RELEASE = 1, 10, 11, 12
STREAM_OPEN, SIGNAL, WINDOW_CHANGE, CLOSE = 20, 21, 22, 23
STATUS, END, RELOAD = 30, 31, 32
DATA, WINDOW, EOF = 40, 41, 42
WELCOME, OK, ERROR = 100, 101, 102
WAITING, GRANTED, RENEWED, LEASE_ENDED = 110, 111, 112, 113
STREAM_OPENED, EXITED, STREAM_END, STATUS_REPLY = 120, 122, 123, 130

HEAD = struct.Struct(">II")  # length of what follows, type
U32 = struct.Struct(">I")
_PTY_SIZE = struct.Struct(">IIII")


class Violation(Exception):
    """The bytes are not what the protocol allows."""


class Pty(NamedTuple):
    """A terminal on the far side. Sizes in characters and, 0 if unknown, in pixels; `modes` as RFC 4254 section 8 encodes
    them, empty for the server's defaults."""

    term: str = "vt100"
    cols: int = 80
    rows: int = 24
    width_px: int = 0
    height_px: int = 0
    modes: bytes = b""


Env = Sequence[Tuple[str, str]]

# number: (name, fields). A field is name:kind, with a range or a limit where it has one. Kinds: u (uint32), q (uint64),
# b (boolean), t (text), d (data), and the two parts of STREAM_OPEN that are lists.
_TABLE: Dict[int, Tuple[str, str]] = {
    HELLO: ("HELLO", "magic:t:8 version_min:u version_max:u program:t:255"),
    ACQUIRE: ("ACQUIRE", "rid:r target:t:255 acquire_timeout_ms:u lease_timeout_ms:u label:t:255"),
    RENEW: ("RENEW", "rid:r lease_timeout_ms:u"),
    RELEASE: ("RELEASE", "rid:r"),
    STREAM_OPEN: ("STREAM_OPEN", "rid:r stream:u kind:u:1:3 command:t:262000 window:u:0:16777216 pty:pty env:env"),
    SIGNAL: ("SIGNAL", "stream:u name:t:255"),
    WINDOW_CHANGE: ("WINDOW_CHANGE", "stream:u cols:u rows:u width_px:u height_px:u"),
    CLOSE: ("CLOSE", "stream:u"),
    STATUS: ("STATUS", "rid:r"),
    END: ("END", "rid:r lease:q"),
    RELOAD: ("RELOAD", "rid:r"),
    DATA: ("DATA", "stream:u fd:u:0:1 data:d:32768"),
    WINDOW: ("WINDOW", "stream:u bytes:u:0:16777216"),
    EOF: ("EOF", "stream:u"),
    WELCOME: ("WELCOME", "version:u daemon:t:255"),
    OK: ("OK", "rid:r"),
    ERROR: ("ERROR", "rid:u code:u:1:255 unsent:b text:t:4096"),
    WAITING: ("WAITING", "rid:r position:u waited_ms:u reason:t:4096"),
    GRANTED: ("GRANTED", "rid:r lease:q lease_timeout_ms:u max_lease_ms:u streams:u:1:64"),
    RENEWED: ("RENEWED", "rid:r lease_timeout_ms:u"),
    LEASE_ENDED: ("LEASE_ENDED", "lease:q code:u:1:255 text:t:4096"),
    STREAM_OPENED: ("STREAM_OPENED", "rid:r stream:u window:u:0:16777216"),
    EXITED: ("EXITED", "stream:u how:u:0:1 exit_status:u signal:t:255 core_dumped:b"),
    STREAM_END: ("STREAM_END", "stream:u how:u:0:2 exit_status:u signal:t:255 core_dumped:b text:t:4096"),
    STATUS_REPLY: ("STATUS_REPLY", "rid:r more:b json:d:131072"),
}
SINCE: Dict[int, int] = {EXITED: 3}  # the version that brought it, where that is not the first
NAMES: Dict[int, str] = {number: name for number, (name, _) in _TABLE.items()}
FIELDS: Dict[int, List[str]] = {number: [f.split(":")[0] for f in spec.split()] for number, (_, spec) in _TABLE.items()}
_MORE_BEHIND = (HELLO, WELCOME)  # a later version may put more behind the last field

Buffer = Union[bytes, bytearray, memoryview]
_Decoder = Callable[[Buffer, int, int], Tuple[Any, ...]]


# --- decoding ---

def _take(data: Buffer, at: int, end: int, limit: int) -> Tuple[bytes, int]:
    if end - at < 4:
        raise Violation("cut short")
    (length,) = U32.unpack_from(data, at)
    at += 4
    if length > limit:
        raise Violation(f"a string of {length} bytes where at most {limit} are allowed")
    if length > end - at:
        raise Violation("cut short")
    return bytes(data[at:at + length]), at + length


def _take_text(data: Buffer, at: int, end: int, limit: int) -> Tuple[str, int]:
    raw, at = _take(data, at, end, limit)
    if b"\0" in raw:
        raise Violation("a NUL in a text")
    return raw.decode("utf-8", "replace"), at


def _take_pty(data: Buffer, at: int, end: int) -> Tuple[Optional[Pty], int]:
    if end - at < 1:
        raise Violation("cut short")
    present = data[at]
    at += 1
    if not present:
        return None, at
    term, at = _take_text(data, at, end, NAME_MAX)
    if end - at < _PTY_SIZE.size:
        raise Violation("cut short")
    cols, rows, width_px, height_px = _PTY_SIZE.unpack_from(data, at)
    modes, at = _take(data, at + _PTY_SIZE.size, end, MODES_MAX)
    return Pty(term, cols, rows, width_px, height_px, modes), at


def _take_env(data: Buffer, at: int, end: int) -> Tuple[List[Tuple[str, str]], int]:
    if end - at < 4:
        raise Violation("cut short")
    (count,) = U32.unpack_from(data, at)
    if count > ENV_MAX:
        raise Violation(f"{count} variables")
    at += 4
    env = []
    for _ in range(count):
        name, at = _take_text(data, at, end, NAME_MAX)
        value, at = _take_text(data, at, end, ENV_VALUE_MAX)
        env.append((name, value))
    return env, at


_FIXED = {"u": "I", "r": "I", "q": "Q", "b": "B"}


def _make_decoder(number: int) -> _Decoder:
    """Fields of fixed size that stand together are unpacked at once."""
    fields = [f.split(":") for f in _TABLE[number][1].split()]
    steps: List[Tuple[str, Any]] = []
    ranges: List[Tuple[int, int, int, str]] = []  # index, least, most, name
    booleans: List[int] = []
    run = ""
    for index, field in enumerate(fields):
        name, kind = field[0], field[1]
        if kind in _FIXED:
            run += _FIXED[kind]
            if kind == "r":
                ranges.append((index, 1, 0xFFFFFFFF, name))
            elif len(field) > 2:
                ranges.append((index, int(field[2]), int(field[3]), name))
            elif kind == "b":
                booleans.append(index)
            continue
        if run:
            steps.append(("fixed", struct.Struct(">" + run)))
            run = ""
        steps.append((kind, int(field[2]) if len(field) > 2 else 0))
    if run:
        steps.append(("fixed", struct.Struct(">" + run)))
    whole = number not in _MORE_BEHIND

    if len(steps) == 1 and not booleans:
        fixed: struct.Struct = steps[0][1]

        def decode_fixed(data: Buffer, at: int, end: int) -> Tuple[Any, ...]:
            if end - at != fixed.size:
                raise Violation("cut short" if end - at < fixed.size else "bytes left over")
            values = fixed.unpack_from(data, at)
            for i, least, most, name in ranges:
                if not least <= values[i] <= most:
                    raise Violation(f"{name} is {values[i]}")
            return values
        return decode_fixed

    def decode(data: Buffer, at: int, end: int) -> Tuple[Any, ...]:
        values: List[Any] = []
        for kind, how in steps:
            value: Any
            if kind == "fixed":
                if end - at < how.size:
                    raise Violation("cut short")
                values += how.unpack_from(data, at)
                at += how.size
                continue
            if kind == "t":
                value, at = _take_text(data, at, end, how)
            elif kind == "d":
                value, at = _take(data, at, end, how)
            elif kind == "pty":
                value, at = _take_pty(data, at, end)
            else:
                value, at = _take_env(data, at, end)
            values.append(value)
        if at != end and whole:
            raise Violation("bytes left over")
        for i, least, most, name in ranges:
            if not least <= values[i] <= most:
                raise Violation(f"{name} is {values[i]}")
        for i in booleans:
            values[i] = values[i] != 0
        return tuple(values)
    return decode


def _check_hello(values: Tuple[Any, ...]) -> None:
    if values[0] != MAGIC:
        raise Violation("not sshlease's magic")


def _check_open(values: Tuple[Any, ...]) -> None:
    kind, command = values[2], values[3]
    if kind == SHELL and command:
        raise Violation("a command for a shell")
    if kind == SUBSYSTEM and len(command.encode("utf-8", "surrogateescape")) > NAME_MAX:
        raise Violation("a long subsystem")


def _checked(decoder: _Decoder, check: Callable[[Tuple[Any, ...]], None]) -> _Decoder:
    def decode(data: Buffer, at: int, end: int) -> Tuple[Any, ...]:
        values = decoder(data, at, end)
        check(values)
        return values
    return decode


DECODERS: Dict[int, _Decoder] = {number: _make_decoder(number) for number in _TABLE}
DECODERS[HELLO] = _checked(DECODERS[HELLO], _check_hello)
DECODERS[STREAM_OPEN] = _checked(DECODERS[STREAM_OPEN], _check_open)


def next_frame(data: Buffer, at: int, end: int) -> Optional[Tuple[int, int]]:
    """(type, where the frame ends) of the frame that begins at `at`; its body begins at at + 8. None when there is not all
    of it yet. Violation for a length that no frame has, known or unknown the type."""
    if end - at < 4:
        return None
    (length,) = U32.unpack_from(data, at)
    if not 4 <= length <= FRAME_MAX:
        raise Violation(f"a frame of length {length}")
    if end - at < length + 4:
        return None
    (number,) = U32.unpack_from(data, at + 4)
    return number, at + 4 + length


def decode_body(number: int, data: Buffer, at: int, end: int) -> Tuple[Any, ...]:
    """The fields in their order. Violation for an unknown type too."""
    decoder = DECODERS.get(number)
    if decoder is None:
        raise Violation(f"unknown type {number}")
    return decoder(data, at, end)


# --- encoding ---

def to_bytes(text: str) -> bytes:
    """As it goes on the wire: what os.fsdecode() made of bytes that are no UTF-8 becomes those bytes again."""
    return text.encode("utf-8", "surrogateescape")


def string(value: Union[str, Buffer]) -> bytes:
    raw = to_bytes(value) if isinstance(value, str) else bytes(value)
    return U32.pack(len(raw)) + raw


def _encode_pty(pty: Optional[Pty]) -> bytes:
    if pty is None:
        return b"\0"
    return b"\1" + string(pty.term) + _PTY_SIZE.pack(pty.cols, pty.rows, pty.width_px, pty.height_px) + string(pty.modes)


def _encode_env(env: Env) -> bytes:
    return U32.pack(len(env)) + b"".join(string(name) + string(value) for name, value in env)


def frame(number: int, body: bytes) -> bytes:
    return HEAD.pack(len(body) + 4, number) + body


_ENCODERS: Dict[str, Callable[[Any], bytes]] = {
    "u": U32.pack, "r": U32.pack, "q": struct.Struct(">Q").pack, "b": lambda value: b"\1" if value else b"\0",
    "t": string, "d": string, "pty": _encode_pty, "env": _encode_env,
}
_PLANS: Dict[int, List[Callable[[Any], bytes]]] = {
    number: [_ENCODERS[f.split(":")[1]] for f in spec.split()] for number, (_, spec) in _TABLE.items()}


def encode(number: int, *values: Any) -> bytes:
    """A whole frame. `values` are the message's fields in their order; they are not checked against the limits."""
    plan = _PLANS[number]
    assert len(plan) == len(values), NAMES[number]
    return frame(number, b"".join([put(value) for put, value in zip(plan, values)]))
