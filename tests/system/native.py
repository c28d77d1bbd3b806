# SPDX-License-Identifier: MIT
"""A client of the native protocol in plain Python, made from proto/PROTOCOL.md alone: it proves that the document is
enough, and lets tests say on the wire what no well-behaved client would."""

import contextlib
import select
import socket
import struct
import time
from collections import deque

from protocol import MESSAGES, STATUSES
from waiting import NotInTime

MAGIC = b"sshlease"
VERSION = 1
DATA_MAX = 32768
FRAME_MAX = 262144

EXEC, SHELL, SUBSYSTEM = 1, 2, 3
STATUS, SIGNAL, UNKNOWN = 0, 1, 2  # how a stream ended

NAMES = {message.number: name for name, message in MESSAGES.items()}
CODES = {number: name for number, (name, _, _) in STATUSES.items()}
FIXED = {"u32": ">I", "u64": ">Q", "bool": ">?"}


class Error(Exception):
    """The daemon said ERROR or LEASE_ENDED."""

    def __init__(self, code, text, unsent=False):
        super().__init__(f"{CODES.get(code, code)}: {text}")
        self.code, self.name, self.text, self.unsent = code, CODES.get(code, str(code)), text, unsent


class Closed(Exception):
    """The daemon closed the socket."""


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def string(value):
    value = _bytes(value)
    return struct.pack(">I", len(value)) + value


def frame(number, body=b""):
    return struct.pack(">II", len(body) + 4, number) + body


def encode(name, /, **values):
    body = b""
    for field, kind in MESSAGES[name].fields:
        value = values.pop(field)
        body += struct.pack(FIXED[kind], value) if kind in FIXED else string(value)
    assert not values, f"{name} has no {values}"
    return frame(MESSAGES[name].number, body)


class Message:
    def __init__(self, name, body):
        self.type = name
        at = 0
        for field, kind in MESSAGES[name].fields:
            if kind in FIXED:
                (value,) = struct.unpack_from(FIXED[kind], body, at)
                at += struct.calcsize(FIXED[kind])
            else:
                (length,) = struct.unpack_from(">I", body, at)
                value = body[at + 4:at + 4 + length]
                assert len(value) == length, f"{name} is cut short"
                at += 4 + length
                if field != "data":
                    value = value.decode()
            setattr(self, field, value)
        assert at == len(body) or name == "WELCOME", f"{name} has {len(body) - at} bytes too many"

    def __repr__(self):
        return f"{self.type}({', '.join(f'{k}={v!r}'[:60] for k, v in vars(self).items() if k != 'type')})"


class Stream:
    """One stream of a lease. Credit for the daemon is renewed as data comes unless `frozen`."""

    def __init__(self, client, number, window):
        self.client, self.number, self.credit = client, number, window
        self.opened = self.error = self.exited = self.end = None
        self.eof = False
        self.frozen = False
        self.output = [bytearray(), bytearray()]
        self.received = 0
        self.on_data = None  # called with (fd, data) instead of collecting
        self.may_send = 0
        self._debt = 0

    def give(self, count):
        self.client.send("WINDOW", stream=self.number, bytes=count)

    def take(self, message):
        self.received += len(message.data)
        if self.on_data:
            self.on_data(message.fd, message.data)
        else:
            self.output[message.fd] += message.data
        self._debt += len(message.data)
        if not self.frozen and self._debt >= self.credit // 2:
            self.give(self._debt)
            self._debt = 0

    def thaw(self):
        self.frozen = False
        if self._debt:
            self.give(self._debt)
            self._debt = 0

    def write(self, data, timeout=30.0):
        view = memoryview(data)
        while view:
            self.client.pump(lambda: self.may_send > 0 or self.end, timeout)
            if self.end:
                return
            count = min(len(view), self.may_send, DATA_MAX)
            self.may_send -= count
            self.client.send("DATA", stream=self.number, fd=0, data=view[:count])
            view = view[count:]

    def write_eof(self):
        self.client.send("EOF", stream=self.number)

    def signal(self, name):
        self.client.send("SIGNAL", stream=self.number, name=name)

    def resize(self, cols, rows):
        self.client.send("WINDOW_CHANGE", stream=self.number, cols=cols, rows=rows, width_px=0, height_px=0)

    def close(self):
        self.client.send("CLOSE", stream=self.number)

    def await_opened(self, timeout=30.0):
        self.client.pump(lambda: self.opened or self.error or self.end, timeout)
        if self.error:
            raise self.error
        if not self.opened:  # LEASE_ENDED crossed our request, whose answer is still to come
            raise Error(self.client.ended.code, self.end.text)
        return self

    def await_output(self, what, fd=0, timeout=30.0):
        """Until `what` was written; returns all there is so far."""
        what = _bytes(what)
        self.client.pump(lambda: what in self.output[fd] or self.end, timeout)
        assert what in self.output[fd], f"the stream ended without {what!r}: {bytes(self.output[fd])!r} {self.end}"
        return bytes(self.output[fd])

    def await_end(self, timeout=30.0):
        self.client.pump(lambda: self.end, timeout)
        return self.end

    @property
    def stdout(self):
        return bytes(self.output[0])

    @property
    def stderr(self):
        return bytes(self.output[1])


class Client:
    def __init__(self, path, hello=True, program="native.py", timeout=30.0, version=VERSION):
        self.timeout = timeout
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A full backlog makes connect() wait, for as long as the kernel lets a send wait.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(timeout), 0))
        self.socket.connect(path)
        self.socket.setblocking(False)
        self.closed = False
        self.received = bytearray()
        self.queue = bytearray()       # to be sent
        self.answers = deque()         # messages nobody has taken yet
        self.waiting = []              # WAITING messages, in order
        self.ended = None              # LEASE_ENDED
        self.streams = {}
        self.lease = None
        self._lost = set()             # requests of streams that are over; an ERROR to them tells nothing new
        self._rid = 0
        self._number = 0
        if hello:
            self.send("HELLO", magic=MAGIC, version_min=version, version_max=version, program=program)
            self.welcome = self.answer("WELCOME")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True
        self.socket.close()

    # --- bytes ---

    def send_raw(self, data):
        self.queue += data
        self._flush()

    def send(self, name, /, **values):
        self.send_raw(encode(name, **values))

    def _flush(self):
        while self.queue:
            try:
                sent = self.socket.send(self.queue)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self.queue.clear()  # what the daemon said before it closed may still be there to read
                return
            del self.queue[:sent]

    def _receive(self):
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        self.received += data
        at = 0
        while len(self.received) - at >= 8:
            length, number = struct.unpack_from(">II", self.received, at)
            assert 4 <= length <= FRAME_MAX, f"the daemon sent a frame of length {length}"
            if len(self.received) - at < 4 + length:
                break
            body = bytes(self.received[at + 8:at + 4 + length])
            at += 4 + length
            assert number in NAMES, f"the daemon sent a message of type {number}"
            self._dispatch(Message(NAMES[number], body))
        del self.received[:at]

    def _dispatch(self, message):
        name = message.type
        if name == "DATA":
            stream = self.streams[message.stream]
            assert stream.end is None, "DATA after STREAM_END"
            stream.take(message)
        elif name == "WINDOW":
            self.streams[message.stream].may_send += message.bytes
        elif name == "EOF":
            self.streams[message.stream].eof = True
        elif name == "EXITED":
            stream = self.streams[message.stream]
            assert stream.exited is None
            stream.exited = message
        elif name == "STREAM_END":
            stream = self.streams.pop(message.stream)
            assert stream.end is None
            stream.end = message
        elif name == "STREAM_OPENED":
            stream = self.streams[message.stream]
            stream.opened = message
            stream.may_send += message.window
        elif name == "WAITING":
            self.waiting.append(message)
        elif name == "LEASE_ENDED":
            self.ended = message
            self.lease = None
            self._streams_over(message.text)
        elif name == "ERROR" and message.rid in self._lost:
            self._lost.discard(message.rid)
        elif name == "ERROR" and any(s.rid == message.rid for s in self.streams.values()):
            stream = next(s for s in self.streams.values() if s.rid == message.rid)
            stream.error = Error(message.code, message.text, message.unsent)
            del self.streams[stream.number]
        else:
            self.answers.append(message)

    def _streams_over(self, text):
        """The lease is over, and its streams with it; no message says so for each."""
        for stream in self.streams.values():
            if not stream.opened:
                self._lost.add(stream.rid)
            stream.end = Message("STREAM_END", struct.pack(">III", stream.number, UNKNOWN, 0) + string("") + b"\0"
                                 + string(text))
        self.streams.clear()

    def pump(self, condition, timeout=None):
        """Sends and receives until `condition` holds. Raises Closed when the daemon hangs up before, or an unasked end
        of everything (ERROR with request id 0)."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            value = condition()
            if value:
                return value
            for message in self.answers:
                if message.type == "ERROR" and message.rid == 0:
                    raise Error(message.code, message.text, message.unsent)
            if self.closed:
                raise Closed(repr(self.ended) if self.ended else "the daemon closed the socket")
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotInTime(f"the daemon did not answer in time; have {list(self.answers)}")
            poll = select.poll()
            poll.register(self.socket, select.POLLIN | (select.POLLOUT if self.queue else 0))
            for _, events in poll.poll(left * 1000):
                if events & select.POLLOUT:
                    self._flush()
                if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    self._receive()

    def answer(self, *names, timeout=None, rid=None):
        """The next message that is about no stream and no wait; an ERROR is raised unless asked for."""
        def fits():
            return next((m for m in self.answers if rid is None or getattr(m, "rid", None) == rid), None)
        message = self.pump(fits, timeout)
        self.answers.remove(message)
        if message.type == "ERROR" and "ERROR" not in names:
            raise Error(message.code, message.text, message.unsent)
        assert message.type in names, f"expected {names}, got {message}"
        return message

    def await_closed(self, timeout=30.0):
        with contextlib.suppress(Closed, Error):
            self.pump(lambda: self.closed, timeout)
        self.answers.clear()
        with contextlib.suppress(Closed):
            self.pump(lambda: self.closed, timeout)

    def rid(self):
        self._rid += 1
        return self._rid

    # --- requests ---

    def start_acquire(self, target, acquire_timeout_ms=0, lease_timeout_ms=0, label=""):
        rid = self.rid()
        self.ended = None
        self.send("ACQUIRE", rid=rid, target=target, acquire_timeout_ms=acquire_timeout_ms,
                  lease_timeout_ms=lease_timeout_ms, label=label)
        return rid

    def await_granted(self, rid=None, timeout=60.0):
        granted = self.answer("GRANTED", timeout=timeout, rid=rid)
        self.lease = granted.lease
        return granted

    def acquire(self, target, timeout=60.0, **options):
        return self.await_granted(self.start_acquire(target, **options), timeout)

    def release(self, timeout=30.0):
        rid = self.rid()
        self.send("RELEASE", rid=rid)
        self.answer("OK", timeout=timeout, rid=rid)
        self.lease = None
        self._streams_over("released")

    def renew(self, lease_timeout_ms=0):
        rid = self.rid()
        self.send("RENEW", rid=rid, lease_timeout_ms=lease_timeout_ms)
        return self.answer("RENEWED", rid=rid)

    def open_stream(self, kind, command="", window=262144, pty=None, env=(), number=None):
        """Asks for a stream; await_opened() tells. `pty` is (term, cols, rows)."""
        if number is None:
            self._number += 1
            number = self._number
        stream = Stream(self, number, window)
        stream.rid = self.rid()
        self.streams[number] = stream
        body = struct.pack(">III", stream.rid, number, kind) + string(command) + struct.pack(">I", window)
        if pty:
            body += b"\1" + string(pty[0]) + struct.pack(">IIII", pty[1], pty[2], 0, 0) + string(b"")
        else:
            body += b"\0"
        body += struct.pack(">I", len(env)) + b"".join(string(n) + string(v) for n, v in env)
        self.send_raw(frame(MESSAGES["STREAM_OPEN"].number, body))
        return stream

    def exec(self, command, **options):
        return self.open_stream(EXEC, command, **options)

    def run(self, command, data=b"", timeout=60.0, **options):
        """Runs one command to its end; answers the stream, with output and end in it."""
        stream = self.exec(command, **options).await_opened(timeout)
        stream.write(data, timeout)
        stream.write_eof()
        stream.await_end(timeout)
        return stream

    def status(self):
        """The JSON text of the daemon's state."""
        rid = self.rid()
        self.send("STATUS", rid=rid)
        text = ""
        while True:
            part = self.answer("STATUS_REPLY", rid=rid)
            text += part.json
            if not part.more:
                return text

    def end(self, lease):
        rid = self.rid()
        self.send("END", rid=rid, lease=lease)
        self.answer("OK", rid=rid)

    def reload(self):
        rid = self.rid()
        self.send("RELOAD", rid=rid)
        self.answer("OK", rid=rid)
