#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""After: the same three with sshlease. All are right, and where none of them gets to run, the kernel closes the socket that
is the lease, and the daemon ends what was started over there.

    idioms_after.py TARGET
"""

import sys

import sshlease


def try_finally(target):
    c = sshlease.lease(target)  # no login: the daemon has a connection
    try:
        return c.output("hostname")
    finally:
        c.close()


def context_manager(target):
    with sshlease.lease(target) as c:
        return c.output("hostname")


def nothing_at_all(target):
    """Not nice: Python says ResourceWarning, and the connection is not given back but closed. But nothing leaks."""
    return sshlease.lease(target).output("hostname")


def one_changed_import(target):
    """What was written for paramiko."""
    from sshlease import paramiko
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(target)
        _, stdout, _ = client.exec_command("hostname")
        return stdout.read().decode()


if __name__ == "__main__":
    for way in (try_finally, context_manager, nothing_at_all, one_changed_import):
        print(f"{way.__name__}: {way(sys.argv[1])}", end="")
