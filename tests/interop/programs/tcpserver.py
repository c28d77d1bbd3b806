#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a program for each connection, with the connection as its standard input and output, as inetd does.

    tcpserver.py PORT PROGRAM [ARGUMENT]...
"""

import signal
import socket
import subprocess
import sys


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(64)
    children = []
    while True:
        connection, _ = listener.accept()
        with connection:
            children = [child for child in children if child.poll() is None]
            children.append(subprocess.Popen(sys.argv[2:], stdin=connection, stdout=connection,
                                             preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_DFL)))


if __name__ == "__main__":
    main()
