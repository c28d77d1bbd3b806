# SPDX-License-Identifier: MIT
"""The ends of a forward: a far one that listens, and what connects to the near one."""

import contextlib
import hashlib
import os
import socket
import threading

from waiting import until


class Far:
    """A listening socket of the test's, for the far (or near) end of a forward. `serve(connection)` runs in a thread of
    its own for each connection; without it, accept() is the test's to call."""

    def __init__(self, path=None, serve=None):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.socket.bind(path or ("127.0.0.1", 0))
        self.socket.listen(100)
        if path:
            os.chmod(path, 0o777)
        self.port = None if path else self.socket.getsockname()[1]
        self.serve = serve
        if serve:
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._one, args=self.socket.accept()[:1], daemon=True).start()

    def _one(self, connection):
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def accept(self):
        self.socket.settimeout(20)
        connection = self.socket.accept()[0]
        connection.settimeout(20)
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def digest(connection):
    """Takes everything, then says what it was: the answer can only come after the end of input."""
    total = hashlib.sha256()
    while data := connection.recv(65536):
        total.update(data)
    connection.sendall(total.digest())


def dial(where):
    """A connected socket to a port or a path; None where nobody listens."""
    client = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    client.settimeout(20)
    try:
        client.connect(where if isinstance(where, str) else ("127.0.0.1", where))
    except OSError:
        client.close()
        return None
    return client


def await_port(where):
    return until(lambda: dial(where), f"somebody listens at {where}")


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


def assert_carries(where):
    """8 MiB of anything one way, and the other end's word on it after our end of input."""
    data = os.urandom(8 << 20)
    with await_port(where) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == hashlib.sha256(data).digest()
