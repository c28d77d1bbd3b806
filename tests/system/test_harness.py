# SPDX-License-Identifier: MIT
"""The harness itself: what the other tests lean on."""

import os
import signal
import subprocess
import time

import logs
import procs
from sshd import fingerprint


def ssh(server, keys, tmp_path, *words, port=None, **more):
    known = tmp_path / "known_hosts"
    known.write_text(server.known_hosts_line(f"[127.0.0.1]:{port or server.port}"))
    return subprocess.run(["ssh", "-F", "none", "-p", str(port or server.port), "-i", keys.ed25519, "-o", "BatchMode=yes",
                           "-o", f"UserKnownHostsFile={known}", f"{server.user}@127.0.0.1", *words], capture_output=True,
                          check=False, timeout=30, stdin=subprocess.DEVNULL, **more)


def test_the_private_sshd_lets_ssh_in(sshd, keys, tmp_path):
    done = ssh(sshd, keys, tmp_path, "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert fingerprint(keys.ed25519).startswith("SHA256:")


def test_what_runs_on_the_far_side_is_found(sshd, keys, tmp_path):
    done = ssh(sshd, keys, tmp_path, "setsid nohup sleep 300 >/dev/null 2>&1 & echo $!")
    assert done.returncode == 0
    (pid,) = sshd.remote()
    watch = procs.Watch(pid)
    assert "sleep 300" in procs.cmdline(pid) and not watch.gone()
    watch.kill()
    watch.await_gone()
    watch.close()


def test_the_proxy_delays_and_cuts(sshd, keys, tmp_path, make_proxy):
    proxy = make_proxy(sshd, delay=0.02)
    begin = time.monotonic()
    assert ssh(sshd, keys, tmp_path, "echo hello", port=proxy.port).stdout == b"hello\n"
    assert time.monotonic() - begin > 6 * 0.04  # a login takes more round trips than that
    assert proxy.accepted == 1 and proxy.bytes["up"] > 1000 < proxy.bytes["down"]
    child = subprocess.Popen(["ssh", "-F", "none", "-p", str(proxy.port), "-i", keys.ed25519, "-o",
                              f"UserKnownHostsFile={tmp_path / 'known_hosts'}", f"{sshd.user}@127.0.0.1",
                              "echo begun; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout.readline() == b"begun\n"
    proxy.cut()
    assert child.wait(10) == 255
    child.communicate()


def test_sigint_is_heard_where_it_is_ignored():
    """As when the tests run as a job in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with subprocess.Popen(procs.interruptible(["sh", "-c", "echo up; exec sleep 300"]), stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            child.send_signal(signal.SIGINT)
            try:
                assert child.wait(10) == -signal.SIGINT
            finally:
                child.kill()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_log_has_its_descriptor_from_the_start(tmp_path, monkeypatch):
    """Not once its thread gets to it, when a test may have counted descriptors already."""
    monkeypatch.setattr(logs.threading.Thread, "start", lambda thread: None)
    ours, theirs = os.pipe()
    os.close(theirs)
    with open(ours, "rb") as stream:
        log = logs.Log(stream, str(tmp_path / "log"))
        assert str(tmp_path / "log") in [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                                         if os.path.exists(f"/proc/self/fd/{fd}")]
        log._follow(stream)
