#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Before: three ways to close an SSH connection with paramiko, and what each of them forgets.

    idioms_before.py HOST [USER [PORT [KEY]]]
"""

import sys
import weakref

import paramiko


def connect(host, user=None, port="22", key=None):
    client = paramiko.SSHClient()
    client.load_system_host_keys()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(host, int(port), user, key_filename=key)  # a login each time
    return client


def try_finally(*where):
    """Not when the process is killed, ends by os._exit(), or hangs; nor when connect() comes before the `try`."""
    client = connect(*where)
    try:
        _, stdout, _ = client.exec_command("hostname")
        return stdout.read().decode()
    finally:
        client.close()


def context_manager(*where):
    """The same, with less to get wrong. What was started over there runs on when this process is killed."""
    with connect(*where) as client:
        _, stdout, _ = client.exec_command("hostname")
        return stdout.read().decode()


def finalizer(*where):
    """When the collector gets to it: never, if the object sits in a cycle that outlives the test; and paramiko's thread
    keeps the connection for itself."""
    class Host:
        def __init__(self):
            self.client = connect(*where)
            weakref.finalize(self, self.client.close)
    host = Host()
    _, stdout, _ = host.client.exec_command("hostname")
    return stdout.read().decode()


if __name__ == "__main__":
    for way in (try_finally, context_manager, finalizer):
        print(f"{way.__name__}: {way(*sys.argv[1:])}", end="")
