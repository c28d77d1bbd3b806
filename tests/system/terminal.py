# SPDX-License-Identifier: MIT
"""A program on a pseudo-terminal of its own, as a person would run it."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from waiting import NotInTime


class Terminal:
    def __init__(self, words, env, rows=40, cols=100):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                self._size(0, rows, cols)
                os.execvpe(words[0], words, env)
            finally:
                os._exit(127)
        self.output = b""
        self.code = None

    @staticmethod
    def _size(fd, rows, cols):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def resize(self, rows, cols):
        """As a terminal emulator does it: the kernel sends SIGWINCH."""
        self._size(self.fd, rows, cols)

    def type(self, data):
        os.write(self.fd, data if isinstance(data, bytes) else data.encode())

    def attributes(self):
        return termios.tcgetattr(self.fd)

    def _read(self, left):
        if not select.select([self.fd], [], [], max(0, left))[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side is closed
            data = b""
        self.output += data
        return bool(data)

    def expect(self, what, timeout=15.0):
        """Until `what` was shown; returns what came up to and with it, and takes it away."""
        what = what if isinstance(what, bytes) else what.encode()
        deadline = time.monotonic() + timeout
        while what not in self.output:
            if not self._read(deadline - time.monotonic()) and what not in self.output:
                raise NotInTime(f"the terminal did not show {what!r} but {self.output!r}")
        at = self.output.index(what) + len(what)
        seen, self.output = self.output[:at], self.output[at:]
        return seen

    def wait(self, timeout=15.0):
        """Its exit code, with all output read."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise NotInTime(f"it does not end; its terminal shows {self.output!r}")
            else:
                time.sleep(0.01)
        return self.code

    def close(self):
        os.close(self.fd)
        if self.code is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
