"""autostart=True: a daemon of the user's own, exactly one however many want it at once."""

import json
import os
import shutil
import signal
import tempfile

import pytest

import daemon as daemons
import procs
import sshlease

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
    with pytest.raises(sshlease.NoDaemon, match="XDG_RUNTIME_DIR"):
        sshlease.lease("t", autostart=True)
