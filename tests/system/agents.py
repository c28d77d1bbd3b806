# SPDX-License-Identifier: MIT
"""Agents: ssh's own, and one that does to signatures what agents do to people."""

import os
import socket
import struct
import subprocess
import threading

FAILURE, SIGN_REQUEST = 5, 13


def add(agent, *words):
    subprocess.run(["ssh-add", "-q", *words], env={**os.environ, "SSH_AUTH_SOCK": agent}, check=True, capture_output=True)


def answers(path):
    """Its socket is there before it listens."""
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
        except OSError:
            return False
    return True


def _message(sock):
    head = b""
    while len(head) < 4:
        more = sock.recv(4 - len(head))
        if not more:
            return None
        head += more
    body = b""
    while len(body) < struct.unpack(">I", head)[0]:
        more = sock.recv(65536)
        if not more:
            return None
        body += more
    return body


def _send(sock, body):
    sock.sendall(struct.pack(">I", len(body)) + body)


class FakeAgent:
    """Stands between sshleased and a real one. `mode`: "sign"; "refuse"; "wait" for a confirmation that does not come;
    "sha1", whatever the flags ask for."""

    def __init__(self, path, real, mode="sign"):
        self.path, self.real, self.mode = path, real, mode
        self.asked = 0  # signatures
        self.over = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock):
        with sock, socket.socket(socket.AF_UNIX) as real:
            real.connect(self.real)
            while (body := _message(sock)) is not None:
                if body[0] == SIGN_REQUEST:
                    self.asked += 1
                    if self.mode == "refuse":
                        _send(sock, bytes([FAILURE]))
                        continue
                    if self.mode == "wait":
                        self.over.wait()
                        return
                    if self.mode == "sha1":
                        body = body[:-4] + bytes(4)
                _send(real, body)
                _send(sock, _message(real))

    def stop(self):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        self.listener.close()
        os.unlink(self.path)
