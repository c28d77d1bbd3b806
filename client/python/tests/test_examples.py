# SPDX-License-Identifier: MIT
"""The examples do what they say."""

import os
import subprocess
import sys

import pytest

from conftest import ROOT

EXAMPLES = os.path.join(ROOT, "client", "python", "examples")


@pytest.fixture
def example(python_env, daemon):
    def run(name, *arguments, **env):
        done = subprocess.run([sys.executable, os.path.join(EXAMPLES, name), *map(str, arguments)], capture_output=True,
                              text=True, timeout=60, check=False,
                              env={**python_env, "SSHLEASE_SOCKET": daemon.path, "PYTHONWARNINGS": "ignore", **env})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()
    return run


@pytest.mark.paramiko
def test_idioms_before(example, sshd, keys, tmp_path):
    names = [line.split(":")[0] for line in example(
        "idioms_before.py", sshd.host, sshd.user, sshd.port, keys.ed25519, HOME=str(tmp_path))]
    assert names == ["try_finally", "context_manager", "finalizer"]


def test_idioms_after(example):
    lines = example("idioms_after.py", "t")
    assert [line.split(":")[0] for line in lines] == [
        "try_finally", "context_manager", "nothing_at_all", "one_changed_import"]
    assert {line.split(": ")[1] for line in lines} == {os.uname().nodename}


def test_many_at_once(example, make_daemon, sshd, target):
    daemon = make_daemon({"targets": {name: target(sshd) for name in ("a", "b")}})
    assert example("many_at_once.py", 20, "echo here", "a", "b", SSHLEASE_SOCKET=daemon.path) == [
        "a: here", "b: here"]
    lines = example("many_at_once.py", 0.5, "sleep 4000", "a", "nowhere", SSHLEASE_SOCKET=daemon.path)
    assert lines[0].startswith("a: CommandTimeout: ") and lines[1].startswith("nowhere: Refused: ")
