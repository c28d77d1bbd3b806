# SPDX-License-Identifier: MIT
"""Attacks that go on: many sockets, much of everything. Run as a program, as a user of its own:
    floods.py ATTACK NATIVE_SOCKET MUX_SOCKET [WORD]
It says "attacking" when it is in full swing, and goes on until its stdin ends."""

import array
import errno
import functools
import os
import random
import select
import socket
import struct
import sys
import threading
import time

import hostile
import native
import samples

SEED = int(os.environ.get("SSHLEASE_SEED", "1"))
BLOCK = 32768  # so much of a flood is made at a time


def attacking():
    print("attacking", flush=True)


def connect(path, timeout=5.0):
    """A socket, not blocking; None where none is to be had now."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    try:
        s.connect(path)
        s.setblocking(False)
    except OSError:
        s.close()
        return None
    return s


def open_all(path, count, opening):
    """`count` sockets that have said `opening`, fewer where the daemon does not take them."""
    found = []
    for _ in range(count):
        s = connect(path)
        if s is None:
            break
        try:
            s.send(opening)
        except OSError:
            s.close()
            continue
        found.append(s)
    return found


def hold(sockets):
    """Keeps what is open, and hears who is turned away. They come anew, but no faster than a second at a time."""
    attacking()
    poll = select.poll()
    for s in sockets:
        poll.register(s, select.POLLHUP)
    while poll.poll():
        time.sleep(1)  # it has the time; what is measured are others


class Flood:
    """Sockets that say what `make` gives, over and over, as fast as it is taken; what they are answered is read and
    dropped, unless `deaf`. One that the daemon closes is followed by another."""

    def __init__(self, path, make, count, deaf=False):
        self.path, self.make, self.deaf = path, make, deaf
        self.poll = select.epoll()
        self.at = {}
        self.blocks = 0
        for _ in range(count):
            self.add()

    def add(self):
        s = connect(self.path)
        if s is not None:
            self.at[s.fileno()] = [s, self.make(True), 0]
            self.poll.register(s, select.EPOLLOUT | (0 if self.deaf else select.EPOLLIN))

    def drop(self, fd):
        self.poll.unregister(fd)
        self.at.pop(fd)[0].close()
        self.add()

    def serve(self, fd, events):
        entry = self.at[fd]
        s, block, at = entry
        if events & select.EPOLLIN and not s.recv(1 << 18):
            raise ConnectionResetError
        if events & select.EPOLLOUT:
            # Descriptors go with the first byte of what needs them.
            piece, fds = block[at]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            sent = s.sendmsg([piece], rights)
            if sent < len(piece):
                block[at] = (piece[sent:], [])
                return
            entry[2] += 1
            if entry[2] == len(block):
                entry[1:] = [self.make(False), 0]
                self.blocks += 1

    def run(self):
        announced = False
        while True:
            if not self.at:
                time.sleep(0.1)
                self.add()
            for fd, events in self.poll.poll(0.1):
                try:
                    self.serve(fd, events)
                except BlockingIOError:
                    pass
                except OSError as e:
                    if e.errno == errno.ETOOMANYREFS:  # too many descriptors are under way
                        time.sleep(0.01)
                    else:
                        self.drop(fd)
            if not announced and (self.blocks > 0 or not self.at):
                announced = True
                attacking()


NULL = os.open(os.devnull, os.O_RDWR)


def block_of(frame, first, opening, mutated, dice):
    """What a flood says next: pieces with the descriptors that go with them."""
    pieces = [(opening, [])] if first else []
    if mutated:  # the first is the last that is understood
        return pieces + [(samples.mutate(dice, frame[0]) + frame[0] * 3, [])]
    if frame[1] > 0:
        return pieces + [(frame[0], []), *[(b"\0", [NULL])] * frame[1]]
    return pieces + [(frame[0] * max(1, BLOCK // len(frame[0])), [])]


LEASED = samples.HELLO + samples.native("ACQUIRE", rid=1) + samples.native("STREAM_OPEN", rid=2, count=0)


def messages(path, count, names, frame_of, opening, mutated):
    dice = random.Random(SEED)
    turn = iter(range(sys.maxsize))

    def make(first):
        frame = frame_of(names[next(turn) % len(names)])
        return block_of(frame, first, opening, mutated, dice)
    Flood(path, make, count).run()


def native_frame(name):
    if name == "STREAM_OPEN_FDS":
        return samples.native(name, fds=0), 0
    return samples.native(name), 0


def mux_frame(name):
    return samples.mux(name), samples.MUX[name][2]


def native_flood(path, _mux, name, opening, mutated):
    names = samples.CLIENTS if name == "all" else [name]
    messages(path, 16, names, native_frame, opening, mutated)


def mux_flood(_path, mux, name, mutated):
    names = list(samples.MUX) if name == "all" else [name]
    messages(mux, 16, names, mux_frame, samples.MUX_HELLO, mutated)


def idle(path, _mux):
    """Greeted, and not a word more."""
    hold(open_all(path, 1000, samples.HELLO))


def queued(path, _mux):
    """All of them want the one target."""
    hold(open_all(path, 1000, samples.HELLO + samples.native("ACQUIRE", acquire_timeout_ms=3600000)))


def partial(path, mux):
    """The beginning of a frame, and as many descriptors as go with it."""
    sockets = open_all(path, 600, samples.HELLO) + open_all(mux, 600, samples.MUX_HELLO)
    for s in sockets:
        try:
            s.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [NULL] * 8))])
        except OSError:
            continue  # it was turned away, or the kernel minds
    hold(sockets)


def fat(path, mux):
    """All but the last byte of the longest frame."""
    frame = native.frame(40, bytes(native.FRAME_MAX - 4))[:-1]
    sockets = open_all(path, 1000, samples.HELLO) + open_all(mux, 1000, samples.MUX_HELLO)
    for s in sockets:
        s.settimeout(0.2)
        try:
            s.sendall(frame)
        except OSError:
            continue
    hold(sockets)


def trickle(path, mux):
    """A byte at a time, by hundreds of sockets."""
    sides = [(open_all(path, 200, b""), samples.HELLO + samples.native("STATUS") * 1000),
             (open_all(mux, 200, b""), samples.MUX_HELLO + samples.mux("ALIVE_CHECK") * 1000)]
    attacking()
    for at in range(sys.maxsize):
        for sockets, text in sides:
            for s in sockets:
                try:
                    s.send(text[at % len(text):][:1])
                except OSError:
                    continue


def storm(path, mux, hello):
    """Comes and goes."""
    attacking()
    greetings = {path: samples.HELLO, mux: samples.MUX_HELLO}
    while True:
        for where, greeting in greetings.items():
            s = connect(where)
            if s is None:
                continue
            if hello:
                try:
                    s.send(greeting)
                except OSError:
                    pass
            s.close()


def status_unread(path, _mux):
    """Asks for the state again and again and never reads it, by hundreds of sockets."""
    Flood(path, lambda first: [((samples.HELLO if first else b"") + samples.native("STATUS") * 200, [])], 500, deaf=True).run()


def refused(path, _mux):
    """Wants what it may not have, by hundreds of sockets: work for the daemon, and a line in its log each time."""
    wish = samples.native("ACQUIRE", target="g") * 800
    Flood(path, lambda first: [((samples.HELLO if first else b"") + wish, [])], 200).run()


def mux_refused(_path, mux):
    """The same at the socket of a target that it may not lease."""
    wish = samples.mux("ALIVE_CHECK") * 800
    Flood(os.path.join(os.path.dirname(mux), "g"),
          lambda first: [((samples.MUX_HELLO if first else b"") + wish, [])], 200).run()


def leased(path, command, streams=1):
    client = native.Client(path)
    client.acquire("t")
    return client, [client.exec(command, window=0).await_opened() for _ in range(streams)]


def drops(path, _mux, count="1"):
    """As many bytes as a stream takes, one in a message, to commands that do not read."""
    clients = [leased(path, "exec sleep 3600", int(count))]
    for client, streams in clients:
        for stream in streams:
            one = native.encode("DATA", stream=stream.number, fd=0, data=b"x")
            client.send_raw(one * min(stream.may_send, 262144))
            stream.may_send = 0
    for client, streams in clients:
        client.pump(lambda c=client: not c.queue, 60)
    attacking()
    for client, streams in clients:  # and what the server takes is followed by more
        while True:
            client.pump(lambda: any(s.may_send for s in streams), 3600)


def firehose(path, _mux):
    """As much output as comes, on as many streams and connections as there are to be had."""
    clients = [leased(path, "exec cat /dev/zero", 8) for _ in range(4)]
    for client, streams in clients:
        for stream in streams:
            stream.on_data = lambda fd, data: None
            stream.credit = 1 << 20
            stream.give(1 << 20)
    attacking()
    while True:
        for client, _ in clients:
            client.pump(lambda: True, 3600)
        for fd in select.select([client.socket for client, _ in clients], [], [], 1)[0]:
            client = next(client for client, _ in clients if client.socket is fd)
            client._receive()


def full_pipes(path, _mux):
    """Output that nobody reads."""
    kept = []
    for _ in range(2):
        client = native.Client(path, version=2)
        client.acquire("t")
        for number in range(1, 5):
            ours, theirs = os.pipe()
            stream = client.streams[number] = native.Stream(client, number, 0)
            stream.rid = client.rid()
            body = struct.pack(">III", stream.rid, number, native.EXEC) + native.string("exec cat /dev/zero")
            body += struct.pack(">I", 2) + b"\0" + struct.pack(">I", 0)
            client.socket.sendmsg([native.frame(native.MESSAGES["STREAM_OPEN_FDS"].number, body)],
                                  [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs]))])
            stream.await_opened()
            kept.append((client, ours))
    attacking()
    threading.Event().wait()


def lingering(path, mux):
    """Descriptors whose close waits, and such in the queues of others, again and again."""
    attacking()
    while True:
        for where in (path, mux):
            for way in (hostile.linger, hostile.nested, hostile.unread):
                try:
                    way(where)
                except OSError:
                    time.sleep(0.01)
            for one in hostile.KEPT:
                one.close()
            hostile.KEPT.clear()


def hung_files(path, mux, file):
    """Input from a file that is never read to its end, and closes of it that never end, as many as are taken."""
    fd = os.open(file, os.O_RDONLY)
    for _ in range(2):
        hostile.open_stream(path, fd)
    for where in (path, mux):
        for _ in range(200):
            s = connect(where)
            if s is None:
                continue
            try:
                s.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * 8))])
            except OSError:
                pass
            s.close()
    attacking()
    threading.Event().wait()


def discipline(path, mux):
    """A terminal whose line discipline is being changed without end, for input and for output."""
    hostile.discipline(path, mux)
    attacking()
    threading.Event().wait()


def long_forwards(_path, mux):
    """Forwards with a host's name of 260,000 bytes, before the daemon knows whether it is asked for one."""
    Flood(mux, lambda first: [((samples.MUX_HELLO if first else b"") + samples.LONG_FORWARD * 8, [])], 60, deaf=True).run()


def everything_again(path, _mux):
    """Leases, opens, gives back unclean: the far side has to be cleaned each time."""
    for turn in range(sys.maxsize):
        client, _ = leased(path, "exec sleep 3600", 2)
        client.close()
        if turn == 0:
            attacking()


ATTACKS = {
    "idle": idle, "queued": queued, "partial": partial, "fat": fat, "trickle": trickle, "drops": drops,
    "storm": functools.partial(storm, hello=False), "greetings": functools.partial(storm, hello=True),
    "status-unread": status_unread, "refused": refused, "mux-refused": mux_refused, "full-pipes": full_pipes, "firehose": firehose,
    "lingering": lingering, "hung-files": hung_files, "discipline": discipline, "long-forwards": long_forwards, "unclean": everything_again,
    "native": functools.partial(native_flood, opening=samples.HELLO, mutated=False),
    "native-leased": functools.partial(native_flood, opening=LEASED, mutated=False),
    "native-mutated": functools.partial(native_flood, opening=samples.HELLO, mutated=True),
    "mux": functools.partial(mux_flood, mutated=False),
    "mux-mutated": functools.partial(mux_flood, mutated=True),
}


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    ATTACKS[sys.argv[1]](*sys.argv[2:])
