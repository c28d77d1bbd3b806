# SPDX-License-Identifier: MIT
"""Messages of both protocols, made from what the documents say of their fields, and the same with a mistake in them."""

import struct

from native import FIXED, FRAME_MAX, encode, frame, string
from protocol import MESSAGES

# Of the native protocol, those that a client sends: HELLO ends a second time what it began.
CLIENTS = [name for name, message in MESSAGES.items() if "C" in message.sender]
VALUES = {"magic": b"sshlease", "version_min": 1, "version_max": 4, "program": "hostile", "target": "t", "rid": 7,
          "stream": 1, "kind": 1, "command": "cat >/dev/null", "window": 65536, "name": "USR1", "cols": 80, "rows": 25,
          "lease": 1, "data": b"x", "bytes": 1}
HELLO = encode("HELLO", **{name: VALUES[name] for name, _ in MESSAGES["HELLO"].fields})


def native(name, **more):
    """One frame with a plausible body."""
    values = {**VALUES, **more}
    body = b""
    for field, kind in MESSAGES[name].fields:
        if kind == "pty":
            body += b"\0"
        elif kind == "env":
            body += struct.pack(">I", 1) + string("LC_ALL") + string("C")
        else:
            value = values.get(field, 0)
            body += struct.pack(FIXED[kind], value) if kind in FIXED else string(value or b"")
    return frame(MESSAGES[name].number, body)


# Of OpenSSH's multiplexing protocol, those that a client sends: name: (type, body, descriptors that follow).
def _numbers(*values):
    return struct.pack(f">{len(values)}I", *values)


_FORWARD = _numbers(7, 1) + string("127.0.0.1") + _numbers(1) + string("127.0.0.1") + _numbers(22)
MUX = {
    "HELLO": (0x00000001, _numbers(4), 0),
    "NEW_SESSION": (0x10000002, _numbers(7) + string("") + _numbers(0, 0, 0, 0, 0xFFFFFFFF) + string("xterm")
                    + string("cat >/dev/null") + string("LC_ALL=C"), 3),
    "ALIVE_CHECK": (0x10000004, _numbers(7), 0),
    "TERMINATE": (0x10000005, _numbers(7), 0),
    "OPEN_FWD": (0x10000006, _FORWARD, 0),
    "CLOSE_FWD": (0x10000007, _FORWARD, 0),
    "NEW_STDIO_FWD": (0x10000008, _numbers(7) + string("") + string("127.0.0.1") + _numbers(9), 2),
    "STOP_LISTENING": (0x10000009, _numbers(7), 0),
    "PROXY": (0x1000000F, _numbers(7), 0),
    "EXT_INFO": (0x20000001, _numbers(7) + string("connection"), 0),
}
MUX_HELLO = frame(*MUX["HELLO"][:2])
LONG_FORWARD = frame(0x10000006, _numbers(7, 2) + string("127.0.0.1") + _numbers(0) + string("h" * 260000) + _numbers(22))


def mux(name):
    number, body, _ = MUX[name]
    return frame(number, body)


def mutate(random, whole):
    """The frame with one mistake: in a byte, its end, its length, its type."""
    data = bytearray(whole)
    way = random.randrange(6)
    if way == 0:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif way == 1:
        del data[random.randrange(4, len(data)):]
        data[:4] = struct.pack(">I", len(data) - 4)
    elif way == 2:
        data += bytes(random.randrange(1, 40))
        data[:4] = struct.pack(">I", len(data) - 4)
    elif way == 3:
        data[:4] = struct.pack(">I", random.choice([0, 3, FRAME_MAX, FRAME_MAX + 1, 0x7FFFFFFF, 0xFFFFFFFF]))
    elif way == 4:
        data[4:8] = struct.pack(">I", random.choice([0, 2, 99, 100, 123, 0x80000001, 0xFFFFFFFF]))
    else:  # a number or a length within the body that is out of bounds
        at = random.randrange(8, max(9, len(data) - 3))
        data[at:at + 4] = struct.pack(">I", random.choice([0, FRAME_MAX, 0x80000000, 0xFFFFFFFF]))
        data[:4] = struct.pack(">I", max(len(data) - 4, 4))
    return bytes(data)
