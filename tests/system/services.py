# SPDX-License-Identifier: MIT
"""A daemon as systemd runs it: one after the other, on a socket of the manager's or on the daemon's own."""

import os
import signal
import socket

# What the manager says to a process that it starts: descriptor 3 is the socket, or there is none, and which process is meant.
EXEC = """import os, sys
fd = int(sys.argv[1])
os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
if fd >= 0:
    os.dup2(fd, 3)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])"""


class Service:
    """`with_socket`: as with the socket unit, which listens whether the daemon runs or not."""

    def __init__(self, daemon, with_socket):
        self.daemon = daemon
        self.listener = None
        if with_socket:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(daemon.path)
            self.listener.listen(1024)
            os.chmod(daemon.path, 0o666)
            daemon.fds = (self.listener.fileno(),)
            daemon.sane_end = False  # the socket stays behind: it is the manager's
        daemon.wrap = ["/usr/bin/python3", "-c", EXEC, str(self.listener.fileno() if with_socket else -1)]

    def start(self):
        self.daemon.start()
        return self

    def end(self, timeout=30.0):
        """As `systemctl stop`."""
        for client in self.daemon.clients:
            client.close()
        self.daemon.signal(signal.SIGTERM)
        assert self.daemon.await_exit(timeout) == 0, self.daemon.log.lines[-40:]

    def restart(self, timeout=30.0):
        """As `systemctl restart`: stop is over before start begins."""
        self.daemon.signal(signal.SIGTERM)
        assert self.daemon.await_exit(timeout) == 0, self.daemon.log.lines[-40:]
        self.daemon.log.assert_sane()
        self.start()

    def close(self):
        if self.listener is not None:
            self.listener.close()
