# SPDX-License-Identifier: MIT
"""autostart=True: a daemon of the user's own, exactly one however many want it at once."""

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

import daemon as daemons
import procs
import sshlease
import sshlease.aio
from sshlease import _daemon
from waiting import until

WORKER = """
import os, sys, sshlease
sys.stdin.readline()
with sshlease.lease("t", autostart=True) as c:
    print(c.output("echo fine").strip(), flush=True)
    sys.stdin.readline()
"""


def daemons_at(path):
    return [pid for pid in procs.every() if procs.cmdline(pid).endswith(f"--user --socket {path}") and procs.alive(pid)]


@pytest.fixture
def home(sshd, target, monkeypatch):
    """A user's runtime directory and configuration, and no daemon; what was started there is ended."""
    directory = tempfile.mkdtemp(prefix="sshlease-auto.")
    os.makedirs(os.path.join(directory, "sshlease"))
    with open(os.path.join(directory, "sshlease", "sshleased.yaml"), "w", encoding="utf-8") as f:
        json.dump({"limits": {"shutdown_drain": "200ms"}, "targets": {"t": target(sshd, max_connections=8)}}, f)
    monkeypatch.delenv("SSHLEASE_SOCKET", raising=False)
    for name, value in {"XDG_RUNTIME_DIR": directory, "XDG_CONFIG_HOME": directory,
                        "SSHLEASE_DAEMON": daemons.program("sshleased"), **daemons.sanitizer_env()}.items():
        monkeypatch.setenv(name, value)
    yield directory
    watches = [procs.Watch(pid) for pid in daemons_at(os.path.join(directory, "sshleased.sock"))]
    for one in watches:
        one.kill(signal.SIGTERM)
        one.await_gone()
        one.close()
    shutil.rmtree(directory)


def test_exactly_one(home, python, python_env, sshd):
    env = {**python_env, **{name: os.environ[name] for name in os.environ if name.startswith(("XDG_", "SSHLEASE_"))}}
    workers = [python(WORKER, env=env) for _ in range(8)]
    for one in workers:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in workers:
        assert one.stdout.readline() == "fine\n", one.communicate(timeout=20)
    assert len(daemons_at(os.path.join(home, "sshleased.sock"))) == 1
    for one in workers:
        _, err = one.communicate("\n", timeout=20)
        assert (one.returncode, err) == (0, "")
    # It outlives them, and is nobody's child here.
    (pid,) = daemons_at(os.path.join(home, "sshleased.sock"))
    with sshlease.lease("t") as c:
        assert c.run("true").succeeded
    assert pid not in procs.descendants(os.getpid())


def test_after_it_was_killed(home):
    with sshlease.lease("t", autostart=True):
        (first,) = daemons_at(os.path.join(home, "sshleased.sock"))
    watch = procs.Watch(first)
    watch.kill()
    watch.await_gone()  # all of it: its threads still held the socket open when the first was gone
    watch.close()
    with pytest.raises(sshlease.NoDaemon, match="sshleased --user"):
        sshlease.lease("t")
    with sshlease.lease("t", autostart=True) as c:
        assert c.run("true").succeeded
    assert daemons_at(os.path.join(home, "sshleased.sock")) != [first]


@pytest.mark.parametrize("what", ["socket", "directory"])
def test_still_one_where_somebody_cleans_up(home, what):
    """A socket removed under a daemon is made again by it; whoever comes before that finds the place taken."""
    path = os.path.join(home, "sshleased.sock")
    with sshlease.lease("t", autostart=True) as first:
        (pid,) = daemons_at(path)
        for _ in range(5):
            if what == "socket":
                os.unlink(path)
            else:
                os.rename(home, f"{home}.away")
                shutil.copytree(f"{home}.away", home, ignore=lambda d, names: [n for n in names if "sshleased.sock" in n])
                shutil.rmtree(f"{home}.away")
            with sshlease.lease("t", autostart=True) as second:
                assert second.output("echo fine").strip() == "fine"
                if what == "socket":  # one that found the place taken may still be on its way out
                    until(lambda: daemons_at(path) == [pid], "the first alone", timeout=30)
        assert first.output("echo still").strip() == "still"
    # Where the lock went, too, a second one may have been quicker: then the first has ended with its last lease.
    until(lambda: len(daemons_at(path)) == 1, "one daemon", timeout=30)


def test_what_goes_wrong_is_said(home, monkeypatch):
    with open(os.path.join(home, "sshlease", "sshleased.yaml"), "w", encoding="utf-8") as f:
        f.write("targets: {t: {hots: x}}\n")
    with pytest.raises(sshlease.NoDaemon, match="ended at once: .*sshleased.yaml:1:.*hots") as caught:
        sshlease.lease("t", autostart=True)
    assert caught.value.target == "t" and caught.value.unsent
    monkeypatch.setenv("SSHLEASE_DAEMON", os.path.join(home, "no-such-program"))
    with pytest.raises(sshlease.NoDaemon, match="no-such-program"):
        sshlease.lease("t", autostart=True)
    monkeypatch.delenv("SSHLEASE_DAEMON")
    monkeypatch.setenv("PATH", home)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(sshlease._connect, "USERS_DIRECTORY", home)
    with pytest.raises(sshlease.NoDaemon, match="XDG_RUNTIME_DIR"):
        sshlease.lease("t", autostart=True)


def test_the_users_own_whatever_the_system_has(home, daemon, monkeypatch):
    """A system service that listens is not what autostart means, whether this user may lease from it or not."""
    monkeypatch.setattr(sshlease._connect, "SYSTEM_SOCKET", daemon.path)
    own = os.path.join(home, "sshleased.sock")
    with sshlease.lease("t") as c:
        assert c.run("true").succeeded and not daemons_at(own)

    async def main():
        async with sshlease.aio.lease("t", autostart=True) as c:
            return await c.output("echo aio")
    assert asyncio.run(main()) == "aio\n"
    (pid,) = daemons_at(own)
    with sshlease.lease("t", autostart=True) as c:
        assert c.run("true").succeeded and not daemon.status()["leases"]
    _daemon.ensure()
    assert daemons_at(own) == [pid]


def test_a_system_service_that_is_not_for_this_user(monkeypatch, tmp_path):
    """Is none for him: he is told how to have one, and pytest's --sshlease-no-daemon goes for him, too."""
    (tmp_path / "s.sock").touch()
    (tmp_path / "s.sock").chmod(0o660)
    path = str(tmp_path / "s.sock")
    assert sshlease._connect.failed(errno.EACCES, path, "t").name == "not-allowed"
    monkeypatch.setattr(sshlease._connect, "SYSTEM_SOCKET", path)
    error = sshlease._connect.failed(errno.EACCES, path, "t")
    assert isinstance(error, sshlease.NoDaemon)
    assert f"no permission to connect to {path}, which is for the group " in str(error) and "sshleased --user" in str(error)


@pytest.mark.once
def test_from_the_command_line(home, python_env, daemon):
    """python -m sshlease: what answers, starting one, stopping it; of another user's it keeps its hands."""
    def run(*words):
        return subprocess.run([sys.executable, "-m", "sshlease", *words], env={**python_env, **os.environ, "PYTHONPATH":
                              python_env["PYTHONPATH"]}, capture_output=True, text=True, timeout=30, check=False)
    own = os.path.join(home, "sshleased.sock")
    done = run("stop")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"no sshleased is listening at {own}\n", "")
    done = run("start")
    assert done.returncode == 0 and done.stdout.endswith(f" at {own}\n") and done.stdout.startswith("sshleased "), done
    (pid,) = daemons_at(own)
    assert run().stdout == done.stdout
    done = run("stop")
    assert (done.returncode, done.stdout, daemons_at(own)) == (0, f"stopped process {pid}\n", [])
    done = run("--socket", own)
    assert done.returncode == 1 and done.stderr.startswith(f"sshlease: no sshleased is listening at {own}")
    done = run("status", "--socket", daemon.path)
    assert done.stdout.endswith(f" at {daemon.path}\n")
    for redirection, reason in ((">&-", "it is not open"), (">/dev/full", "No space left on device")):
        done = subprocess.run(["/bin/sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", "sshlease", "--socket",
                               daemon.path], env={**os.environ, "PYTHONPATH": python_env["PYTHONPATH"]}, capture_output=True,
                              text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (1, f"sshlease: cannot write to standard output: {reason}\n")


def test_stopping_waits_for_leases_no_longer_than_asked(home):
    own = os.path.join(home, "sshleased.sock")
    with sshlease.lease("t", autostart=True) as c:
        process = c.popen("exec sleep 4000")
        (pid,) = daemons_at(own)
        assert _daemon.stop(own, 0.0) == (pid, False)
        with pytest.raises(sshlease.SshleaseError):
            process.wait(20)


def test_another_users_is_not_stopped(daemon, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(sshlease.SshleaseError, match=r"process \d+\) is not yours; .*systemctl stop sshleased"):
        _daemon.stop(daemon.path, 1.0)
    assert daemon.process.poll() is None
