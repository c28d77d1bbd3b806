# SPDX-License-Identifier: MIT
"""A client that wants to stop the daemon for everybody. Run as a program, as a user of its own:
    hostile.py ATTACK SOCKET [FILE [KIND]]
It says "attacked" when the harm is done, and stays until its stdin ends."""

import array
import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import termios
import threading
import tty

import native
import samples


def lingering():
    """One end of a connection that has something to send, which nobody reads: its last close waits for an hour. The
    other end is kept open for as long as this process lives."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        KEPT.append(server.accept()[0])
    one.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            one.send(bytes(65536))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    return one


KEPT = []
PROTOCOL = 3


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


def pass_one(to, fd, data=b"\0"):
    to.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


def linger(path):
    """A part of a frame, a descriptor with it, and away."""
    with connect(path) as s, lingering() as one:
        pass_one(s, one.fileno())


def nested(path):
    """The same in the queue of another socket, which is what is passed."""
    ends = socket.socketpair()
    with connect(path) as s, lingering() as one, ends[0], ends[1]:
        pass_one(ends[0], one.fileno())
        pass_one(s, ends[1].fileno())


def surplus(path):
    """More than the daemon has ever room for."""
    with connect(path) as s, lingering() as one:
        s.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno()] * 200))])


def urgent(path):
    """With a byte out of band, which a read passes over: the kernel drops it, and what came with it, in that call."""
    KEPT.append(connect(path))
    with lingering() as one:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno()]))]
        KEPT[0].sendmsg([b"\0"], rights, socket.MSG_OOB)
        KEPT[0].send(b"\xff" * 8)  # a violation, so that it is over soon


def unread(path):
    """The first bytes are a violation; the descriptors are still unread when the daemon closes its end."""
    with connect(path) as s, lingering() as one:
        s.send(b"\xff" * 8)
        for _ in range(50):
            pass_one(s, one.fileno())


def drop_file(path, file):
    """A file whose close is never answered."""
    fd = os.open(file, os.O_RDONLY)
    KEPT.append(fd)
    with connect(path) as s:
        pass_one(s, fd)
        print("passed", flush=True)
        sys.stdin.readline()  # until the daemon has it


def drop_many(path, file):
    """As many as it takes until the daemon has enough of this user; says what it said."""
    fd = os.open(file, os.O_RDONLY)
    KEPT.append(fd)
    code = PROTOCOL
    while code == PROTOCOL:
        with connect(path) as s:
            said = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(8):
                    pass_one(s, fd)
                while data := s.recv(4096):
                    said += data
            (code,) = struct.unpack_from(">I", said, 12) if said else (PROTOCOL,)
    print("told", code, flush=True)


def open_stream(path, fd, command="cat >/dev/null", whose=1):
    """A stream of a lease with that for its input, or (2) its output."""
    client = native.Client(path, hello=False)
    KEPT.append(client)
    client.send("HELLO", magic=native.MAGIC, version_min=2, version_max=2, program="hostile")
    client.answer("WELCOME")
    client.acquire("t")
    stream = client.streams[1] = native.Stream(client, 1, 0)
    stream.rid = client.rid()
    body = struct.pack(">III", stream.rid, 1, native.EXEC) + native.string(command) + struct.pack(">I", whose)
    body += b"\0" + struct.pack(">I", 0)
    pass_one(client.socket, fd, native.frame(native.MESSAGES["STREAM_OPEN_FDS"].number, body))
    return stream


def input_file(path, file):
    """A file whose reads are never answered."""
    fd = os.open(file, os.O_RDONLY)
    KEPT.append(fd)
    open_stream(path, fd)


def terminal_output(path, end, way):
    """A terminal that nobody reads from, for the output of a command that writes much. It does not block when it is passed;
    then it does (cleared), or does again and again (toggled)."""
    fds = os.openpty()
    KEPT.extend(fds)
    tty.setraw(fds[1])
    fd = fds[end == "slave"]
    os.set_blocking(fd, way == "toggled")
    open_stream(path, fd, "sleep 0.2; exec cat /dev/zero", 2).await_opened()
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    if way == "toggled":
        forked(lambda: fcntl.fcntl(fd, fcntl.F_SETFL, flags))  # a process: threads would wait for each other
    select.select([fds[end == "master"]], [], [])  # the first of it has come, so the daemon writes


def forked(work):
    if os.fork() == 0:
        die_with_parent()
        while True:
            with contextlib.suppress(OSError):
                work()


def discipline(path, mux):
    """A terminal whose line discipline others change without end, N_TTY and N_NULL in turn, while somebody reads from it:
    whoever asks the terminal for anything waits for them."""
    master, slave = os.openpty()
    KEPT.extend([master, slave])
    tty.setraw(slave)
    open_stream(path, slave, "sleep 0.2; cat >/dev/null", 1)
    open_stream(path, slave, "sleep 0.2; exec cat /dev/zero", 2).await_opened()
    forked(lambda: os.read(slave, 1))
    for number in (0, 27, 0, 27):
        forked(lambda number=number: fcntl.ioctl(slave, termios.TIOCSETD, struct.pack("i", number)))
    open_session(mux, [slave] * 3, tty=1)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def hold_in_read(fd, file):
    """A thread that reads from `fd` into memory which is a page of `file`, and so never comes back from the kernel."""
    backing = os.open(file, os.O_RDONLY)
    page = mmap.mmap(backing, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    KEPT.extend([backing, page])
    threading.Thread(target=os.readv, args=(fd, [page]), daemon=True).start()


def made(kind):
    """An honest descriptor of that kind, with something to read."""
    if kind == "file":
        honest = tempfile.TemporaryFile()
        honest.write(bytes(65536))
        honest.seek(0)
        return honest
    if kind == "pipe":
        honest, other = (os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb")))
        other.write(bytes(4096))
    elif kind == "unix":
        honest, other = socket.socketpair()
        other.send(bytes(4096))
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            other = socket.create_connection(server.getsockname())
            honest = server.accept()[0]
        other.send(bytes(4096))
    KEPT.append(other)
    return honest


def locked(path, file, kind):
    """An honest descriptor, locked by a read that never ends."""
    honest = made(kind)
    KEPT.append(honest)
    hold_in_read(honest.fileno(), file)
    print("holding", flush=True)
    sys.stdin.readline()
    open_stream(path, honest.fileno())


def open_session(path, fds, tty=0):
    """A session at a mux socket with those for its input and outputs."""
    s = connect(path)
    KEPT.extend([fds, s])
    body = struct.pack(">6I", 0, 0, tty, 0, 0, 0) + struct.pack(">I", 0xFFFFFFFF) + native.string("") + native.string("cat")
    for frame in (struct.pack(">II", 1, 4), struct.pack(">I", 0x10000002) + body):
        s.sendall(struct.pack(">I", len(frame)) + frame)
    for fd in fds:
        pass_one(s, fd)


def session_input(path, file):
    open_session(path, [os.open(file, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)])


def requests(path, *named):
    """A mux client that asks for all of these at once; and its descriptors: the last of each request's is a full pipe."""
    s = connect(path)
    s.sendall(samples.MUX_HELLO)
    readers = []
    for name in named:
        s.sendall(samples.mux(name))
        count = samples.MUX[name][2]
        for i in range(count):
            if i + 1 < count:
                pass_one(s, os.open(os.devnull, os.O_RDWR))
                continue
            reader, writer = os.pipe2(os.O_NONBLOCK)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writer, bytes(4096))
            readers.append(reader)
            pass_one(s, writer)
            os.close(writer)
    KEPT.append(s)
    return s, readers


def hear_all(s, readers):
    """What it answers until it hangs up, while the pipes are emptied."""
    said = b""
    while True:
        for fd in select.select([s, *readers], [], [], 20)[0]:
            if fd is not s:
                if not os.read(fd, 65536):
                    readers.remove(fd)
            elif data := s.recv(65536):
                said += data
            else:
                return said


def two_sessions(path):
    """-W and a session at one socket, where the target cannot be had."""
    said = hear_all(*requests(path, "NEW_STDIO_FWD", "NEW_SESSION"))
    assert b"this socket has a session already" in said, said


def two_users(path):
    """-W and -L at one socket, where the user may open no further stream."""
    reader, writer = os.pipe()
    KEPT.append(writer)
    open_session(path, [reader, os.open(os.devnull, os.O_RDWR), os.open(os.devnull, os.O_RDWR)])
    said = b""
    while struct.pack(">I", 0x80000006) not in said:  # SESSION_OPENED: it has the only one
        said += KEPT[-1].recv(65536)
    said = hear_all(*requests(path, "NEW_STDIO_FWD", "OPEN_FWD"))
    assert b"limits.streams" in said, said


ATTACKS = {"linger": linger, "nested": nested, "surplus": surplus, "urgent": urgent, "unread": unread, "drop-file": drop_file,
           "drop-many": drop_many, "input-file": input_file, "locked": locked,
           "session-input": session_input, "terminal-output": terminal_output,
           "two-sessions": two_sessions, "two-users": two_users}

if __name__ == "__main__":
    ATTACKS[sys.argv[1]](*sys.argv[2:])
    print("attacked", flush=True)
    sys.stdin.read()
    os._exit(0)  # what hangs in a thread is left to the kernel
