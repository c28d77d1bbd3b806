# SPDX-License-Identifier: MIT
"""A file system of one file that does not answer what it is told not to: /dev/fuse spoken from the kernel's header, no
library needed. Needs root for the mount; the files are `uid`'s, and nobody else may ask for them, as with a mount of
that user's own; but where attributes are not answered, everybody may, as on a file server that has gone. Run as a
program it is the server."""

import ctypes
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile

from waiting import NotInTime

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 15, 18, 25, 26, 36, 42
NAME, NODE, SIZE = b"file", 2, 1 << 20
MNT_DETACH = 2


def attributes(node, uid):
    mode = 0o100600 if node == NODE else 0o040700
    return struct.pack("=6Q10I", node, SIZE if node == NODE else 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, uid, uid, 0, 4096, 0)


def answer(opcode, node, body, uid, attributes_last):
    """(error, body) for one request."""
    if opcode == INIT:
        return 0, struct.pack("=4I2H2I2H8I", 7, 31, 0, 0, 12, 10, 65536, 1, 16, 0, *[0] * 8)
    if opcode == LOOKUP:
        if body.rstrip(b"\0") != NAME:
            return -2, b""
        return 0, struct.pack("=4Q2I", NODE, 0, 3600, attributes_last, 0, 0) + attributes(NODE, uid)
    if opcode == GETATTR:
        return 0, struct.pack("=Q2I", 3600, 0, 0) + attributes(node, uid)
    if opcode == OPEN:
        return 0, struct.pack("=Q2I", 1, 0, 0)
    if opcode == READ:
        return 0, b"x" * struct.unpack_from("=I", body, 16)[0]
    return (0, b"") if opcode in (FLUSH, RELEASE) else (-38, b"")


def serve(directory, uid, ignored):
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id={uid},group_id={uid}"
    if GETATTR in ignored:
        options += ",allow_other"
    if libc.mount(b"fuse-test", directory.encode(), b"fuse", 6, options.encode()) != 0:  # MS_NOSUID | MS_NODEV
        raise OSError(ctypes.get_errno(), "mount")
    print("mounted", flush=True)
    while True:
        request = os.read(device, 1 << 18)
        _, opcode, unique, node = struct.unpack_from("=2I2Q", request)
        if opcode in ignored:
            print("ignored", opcode, flush=True)
        elif opcode not in (FORGET, BATCH_FORGET, INTERRUPT):
            error, body = answer(opcode, node, request[40:], uid, 0 if GETATTR in ignored else 3600)
            os.write(device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)


class Lines:
    """What a child says, line by line, with a deadline for each."""

    def __init__(self, stream):
        self.fd, self.data = stream.fileno(), b""

    def next(self, timeout=20.0):
        while b"\n" not in self.data:
            if not select.select([self.fd], [], [], timeout)[0]:
                raise NotInTime(f"a child said nothing more within {timeout:g} s; the last was {self.data!r}")
            data = os.read(self.fd, 65536)
            assert data, f"a child ended; the last it said was {self.data!r}"
            self.data += data
        line, self.data = self.data.split(b"\n", 1)
        return line.decode()

    def await_line(self, line):
        while self.next() != line:
            pass


class HangingFs:
    """Ignores the requests of `ignored`. `path` is the file."""

    def __init__(self, uid, ignored=(FLUSH,)):
        self.stopped = False
        self.directory = tempfile.mkdtemp(prefix="sshlease-fuse.")
        self.path = os.path.join(self.directory, NAME.decode())
        os.chmod(self.directory, 0o755)
        # It ends with us: with its descriptor of the device gone, nothing hangs any more.
        words = [sys.executable, os.path.abspath(__file__), self.directory, str(uid), *map(str, ignored)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.lines = Lines(self.process.stdout)
        self.lines.await_line("mounted")

    def await_ignored(self, opcode):
        """Such a request came and was not answered."""
        self.lines.await_line(f"ignored {opcode}")

    def stop(self):
        """With its last descriptor of the device the kernel gives up whatever waits. Idempotent."""
        if self.stopped:
            return
        self.stopped = True
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        ctypes.CDLL(None).umount2(self.directory.encode(), MNT_DETACH)
        os.rmdir(self.directory)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), {int(word) for word in sys.argv[3:]})
