# SPDX-License-Identifier: MIT
"""A mistake in the configuration: a socket of systemd's stays answered, and says what is wrong."""

import contextlib
import json
import os
import signal
import socket
import time

import pytest

import native
from services import Service
from waiting import until

CLIENTS = 30


@pytest.fixture
def broken(make_daemon, sshd, target):
    """A service that was started with a broken file: it has one target, and a second line of nonsense."""
    daemon = make_daemon({"targets": {"t": target(sshd)}}, start=False)
    daemon.write_config_text("targets:\n  t: {host: 127.0.0.1, max_connections: many}\nlimts: {}\n")
    one = Service(daemon, True)
    one.start()
    yield one
    one.close()


def mend(one):
    one.daemon.write_config(one.daemon.config)


def is_running(daemon):
    """Who asks for the status in the moment of the change is not answered."""
    with contextlib.suppress(native.Closed):
        return daemon.status()["state"] == "running"
    return False


def refused(client, name="config"):
    with pytest.raises(native.Error) as e:
        client.acquire("t")
    assert e.value.name == name and e.value.unsent
    return e.value.text


def test_everybody_is_told_and_it_stays(broken):
    daemon = broken.daemon
    for _ in range(CLIENTS):
        said = refused(daemon.client())
        assert said.startswith(f"sshleased is not configured:\n{daemon.config_file}:2:3: target \"t\" has no user"), said
        assert f"\n{daemon.config_file}:2:41: max_connections \"many\" is not" in said and ":3:1: unknown key" in said, said
    assert daemon.process.poll() is None
    done = daemon.cli("exec", "t", "--", "true")
    assert done.returncode == 255 and b":2:41:" in done.stderr and b":3:1:" in done.stderr
    status = daemon.status()
    assert status["state"] == "unconfigured" and ":2:41:" in status["warning"]
    for args in (["reload"], ["ssh-config"], ["ssh-config", "t"], ["reconnect", "t"], ["mux-ensure", "t"]):
        done = daemon.cli(*args)
        assert done.returncode != 0 and b":2:41:" in done.stderr, (args, done)


@pytest.mark.root
def test_others_are_not_told_what_is_in_the_file(broken, account, reachable):
    done = broken.daemon.cli("exec", "t", "--", "true", user=account)
    assert done.returncode == 255 and done.stderr == (
        b"sshlease: sshleased is not configured: its configuration has errors, which its operator is told\n")
    done = broken.daemon.cli("status", user=account)
    assert b"unconfigured" in done.stdout and b"operator" in done.stderr and b":2:" not in done.stdout + done.stderr
    done = broken.daemon.cli("reload", user=account)
    assert done.returncode == 1 and b"not allowed" in done.stderr


@pytest.mark.parametrize("how", ["reload", "SIGHUP", "itself"])
def test_it_goes_on_when_the_file_is_mended(broken, how):
    """The same process, the same socket; who is connected meanwhile is served by it."""
    daemon, pid = broken.daemon, broken.daemon.pid
    refused(daemon.client())
    mend(broken)
    if how == "reload":
        done = daemon.cli("reload")
        assert done.returncode == 0, done.stderr
    elif how == "SIGHUP":
        daemon.signal(signal.SIGHUP)
    until(lambda: is_running(daemon), "the daemon running", 10)
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    assert daemon.pid == pid and daemon.process.poll() is None
    daemon.write_config_text("nonsense: 1\n")
    done = daemon.cli("reload")
    assert done.returncode == 1 and b"nonsense" in done.stderr
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"  # as always: nothing has changed
    mend(broken)
    broken.restart()
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    broken.end()


def test_other_errors_are_told_anew(broken):
    daemon = broken.daemon
    daemon.write_config_text("other: 1\n")
    done = daemon.cli("reload")
    assert done.returncode == 1 and b":1:1:" in done.stderr and b"other" in done.stderr
    assert "other" in refused(daemon.client())
    mark = daemon.log.mark()
    assert daemon.cli("reload").returncode == 1
    until(lambda: json.loads(daemon.client().status())["uptime_ms"] > 3000, "some looks at the file")
    assert not [line for line in daemon.log.lines[mark:] if "error" in line], "the same errors, again"
    daemon.signal(signal.SIGTERM)
    assert daemon.await_exit() == 0


def test_restarted_with_a_mistake_and_mended_a_client_waits_for_nothing(broken):
    """It gets the reason at once, not a silence."""
    daemon = broken.daemon
    mend(broken)
    assert daemon.cli("reload").returncode == 0
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    daemon.write_config_text("targets: {t: {}}\n")
    broken.restart()
    done = daemon.cli("exec", "t", "--", "true", timeout=5)
    assert done.returncode == 255 and b"has no user" in done.stderr
    mend(broken)
    until(lambda: daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n", "a lease", 10)


@pytest.mark.parametrize("delay_ms", range(0, 10, 2))
def test_no_signal_is_lost_while_it_begins_anew(broken, delay_ms):
    daemon = broken.daemon
    mark = daemon.log.mark()
    mend(broken)
    daemon.signal(signal.SIGHUP)
    daemon.log.find("the errors are mended", after=mark)
    time.sleep(delay_ms / 1000)
    daemon.signal(signal.SIGTERM)
    assert daemon.await_exit(10) == 0


def test_without_a_socket_of_systemd_s_it_ends(make_daemon):
    """Nobody would be told; and there is no socket to lose."""
    daemon = make_daemon({}, start=False)
    daemon.write_config_text("nonsense: 1\n")
    daemon.sane_end = False  # its exit code says why
    one = Service(daemon, False)
    daemon.spawn()
    assert daemon.await_exit() == 3
    assert any("nonsense" in line for line in daemon.log.lines) and not os.path.exists(daemon.path)
    one.close()


def test_systemd_s_line_of_status_says_it(make_daemon, tmp_path):
    daemon = make_daemon({}, start=False)
    daemon.write_config_text("nonsense: 1\nmore: 2\n")
    one = Service(daemon, True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        daemon.env["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        daemon.spawn()
        said = [manager.recv(4096).decode() for _ in range(2)]
        assert "READY=1" in said and any(s.startswith(f"STATUS=not configured: {daemon.config_file}:1:1: ") for s in said), said
    one.end()
    one.close()
