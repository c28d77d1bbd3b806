# SPDX-License-Identifier: MIT
"""An ssh that goes to the background with its session's beginning, which Debian 12's does not do at a mux socket: asks the
socket $SOCKET for the forward $PORT -> $FAR and for a session without a command, with /dev/null. Called as `ssh -fN` is."""

import array
import os
import socket
import struct


def string(data):
    return struct.pack(">I", len(data)) + data


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def say(self, *fields):
        body = b"".join(struct.pack(">I", f) if isinstance(f, int) else string(f) for f in fields)
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def hear(self):
        def read(size):
            got = b""
            while len(got) < size:
                piece = self.socket.recv(size - len(got))
                if not piece:
                    raise EOFError
                got += piece
            return got
        body = read(struct.unpack(">I", read(4))[0])
        return struct.unpack(">I", body[:4])[0], body[4:]


def main():
    client = Client(os.environ["SOCKET"])
    client.say(1, 4)
    assert client.hear()[0] == 1
    client.say(0x10000006, 0, 1, b"", int(os.environ["PORT"]), b"127.0.0.1", int(os.environ["FAR"]))
    assert client.hear()[0] == 0x80000001
    client.say(0x10000004, 1)
    assert client.hear()[0] == 0x80000005
    client.say(0x10000002, 2, b"", 0, 0, 0, 0, 0xFFFFFFFF, b"", b"")
    for _ in range(3):
        with open(os.devnull, "rb") as null:
            client.socket.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))])
    assert client.hear()[0] == 0x80000006
    if (pid := os.fork()) != 0:
        print(pid, flush=True)
        os._exit(0)
    for fd in (1, 2):  # who waits for the end of output waits for the foreground only
        os.close(fd)
    try:
        client.hear()
    except EOFError:
        os._exit(255)
    os._exit(0)


if __name__ == "__main__":
    main()
