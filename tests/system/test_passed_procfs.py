# SPDX-License-Identifier: MIT
"""A file of /proc that a client passes as its input is read by the daemon, and some of them say more to whom they are about."""

import os
import pwd
import subprocess

import pytest

import daemon as daemon_module

pytestmark = pytest.mark.root

START_STACK = 27  # of proc_pid_stat(5), counted from 0


@pytest.fixture
def daemon(make_daemon, sshd, target, reachable):
    nobody = pwd.getpwnam("nobody")
    return make_daemon({"targets": {"t": target(sshd, allow={"users": ["nobody", "root"]})}}), nobody


def passed(daemon, user, path):
    with open(path, "rb") as f:
        return subprocess.run(daemon_module.as_user([daemon_module.program("sshlease"), "exec", "t", "--", "cat"], user),
                              stdin=f, capture_output=True, env=daemon.cli_env(), timeout=60, check=False)


def test_what_the_daemon_sees_of_itself_is_not_for_strangers(daemon):
    one, nobody = daemon
    threads = os.listdir(f"/proc/{one.pid}/task")
    paths = [f"/proc/{one.pid}/stat", *(f"/proc/{one.pid}/task/{thread}/stat" for thread in threads),
             *(f"/proc/{thread}/stat" for thread in threads)]
    for path in paths:
        # The kernel shows it to the daemon whoever has opened it: root, who can have it anyhow, gets it.
        assert int(passed(one, None, path).stdout.split()[START_STACK]) > 4096, path
        done = passed(one, nobody, path)
        assert done.stdout == b"", path


@pytest.mark.parametrize("path", ["/proc/meminfo", "/proc/self/stat", "/proc/1/stat"])
def test_other_files_there_are_as_ever(daemon, path):
    one, nobody = daemon
    done = passed(one, nobody, path)
    assert done.returncode == 0 and done.stdout
