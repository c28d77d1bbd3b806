# SPDX-License-Identifier: MIT
"""The daemon as a process: its arguments, its socket, its signals, its end."""

import json
import os
import signal
import stat
import subprocess
import time

import pytest

import native
import procs
from daemon import program, sanitizer_env
from services import Service
from waiting import until


def sshleased(*args, timeout=30, env=None):
    return subprocess.run([program("sshleased"), *map(str, args)], capture_output=True, text=True, timeout=timeout, check=False,
                          stdin=subprocess.DEVNULL, env={**os.environ, **sanitizer_env(), **(env or {})})


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(option):
    done = sshleased(option)
    assert done.returncode == 0 and done.stdout and not done.stderr
    if option == "--version":
        assert "sshlease" in done.stdout and "libssh2 1." in done.stdout
    else:
        assert "--config" in done.stdout and "--check-config" in done.stdout


def test_unknown_arguments():
    done = sshleased("--nonsense")
    assert done.returncode not in (0, 1) or done.returncode == 1
    assert done.returncode != 0 and "--nonsense" in done.stderr and len(done.stderr.splitlines()) <= 3


def test_check_config(tmp_path, sshd, target):
    good = tmp_path / "good.yaml"
    good.write_text(json.dumps({"targets": {"t": target(sshd)}}))
    done = sshleased("--check-config", good)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr
    bad = tmp_path / "bad.yaml"
    bad.write_text("limits: {clients: many}\nnonsense: 1\ntargets:\n  t:\n    host: h\n    port: 70000\n"
                   "    identity_file: /nowhere/key\n    idle_timeout: 5 parsecs\n  t: {host: x}\n")
    done = sshleased("--check-config", bad)
    assert done.returncode != 0
    for where in (f"{bad}:1:19:", f"{bad}:2:1:", f"{bad}:6:11:", f"{bad}:7:20:", f"{bad}:8:19:", f"{bad}:9:3:"):
        assert where in done.stderr + done.stdout, (where, done.stderr)


def test_a_missing_configuration(tmp_path):
    done = sshleased("--config", tmp_path / "none.yaml")
    assert done.returncode != 0 and "none.yaml" in done.stderr and "No such file" in done.stderr


def test_the_socket_s_mode_and_its_going(make_daemon, tmp_path, sshd, target):
    daemon = make_daemon({"listen": {"path": str(tmp_path / "x.sock"), "mode": "0620"}, "targets": {"t": target(sshd)}},
                         start=False)
    daemon.path = str(tmp_path / "x.sock")
    daemon.start()
    mode = os.stat(daemon.path)
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o620
    assert [n for n in os.listdir(tmp_path) if n.startswith("x.sock")] == ["x.sock"]


def test_a_live_daemon_is_left_alone(daemon, make_daemon):
    second = make_daemon(daemon.config, start=False)
    second.config_file = daemon.config_file
    second.sane_end = False
    second.spawn()
    assert second.await_exit() != 0
    assert second.log.matches(f"{daemon.path}.*|.*already|.*in use"), second.log.lines
    assert daemon.leased().run("echo alive").stdout == b"alive\n"


def test_a_stale_socket_is_replaced(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    daemon.leased().run("true")
    daemon.kill()
    assert os.path.exists(daemon.path)
    daemon.sane_end = True
    daemon.start()
    assert daemon.leased().run("echo again").stdout == b"again\n"


def test_another_kind_of_file_is_left_alone(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}}, start=False)
    with open(daemon.path, "w", encoding="ascii") as f:
        f.write("precious")
    daemon.sane_end = False
    daemon.spawn()
    assert daemon.await_exit() != 0
    with open(daemon.path, encoding="ascii") as f:
        assert f.read() == "precious"
    assert any(daemon.path in line for line in daemon.log.lines)


@pytest.mark.parametrize("path,word", [("/" + "x" * 120, "long"), ("/nowhere/at/all/s.sock", "No such file")])
def test_a_socket_path_that_cannot_be(make_daemon, tmp_path, path, word):
    daemon = make_daemon({"listen": {"path": str(tmp_path) + path if word == "long" else path}}, start=False)
    daemon.sane_end = False
    daemon.spawn()
    assert daemon.await_exit() not in (0, -6, -11)
    assert any(word in line for line in daemon.log.lines), daemon.log.lines


def test_systemd_s_socket_is_used_and_left(make_daemon, sshd, target):
    """Socket activation: descriptor 3 is the listening socket."""
    daemon = make_daemon({"targets": {"t": target(sshd)}}, start=False)
    service = Service(daemon, True)
    early = native.Client(daemon.path, hello=False)
    early.send("HELLO", magic=b"sshlease", version_min=1, version_max=1, program="early")
    service.start()
    early.answer("WELCOME")
    early.close()
    assert daemon.leased().run("echo activated").stdout == b"activated\n"
    service.end()
    assert os.path.exists(daemon.path)
    service.close()


# --- ends ---

def test_sigterm_waits_for_leases(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}, "limits": {"shutdown_drain": "30s"}})
    client = daemon.leased()
    stream = client.exec("read x; echo $x").await_opened()
    waiting = daemon.client()
    daemon.signal(signal.SIGTERM)
    until(lambda: json.loads(waiting.status())["state"] == "stopping", "the daemon stopping")
    with pytest.raises(native.Error) as e:
        waiting.acquire("t")
    assert e.value.name == "shutdown" and e.value.unsent
    stream.write(b"finished\n")
    assert stream.await_end().exit_status == 0 and stream.stdout == b"finished\n"
    client.release()
    assert daemon.await_exit() == 0


def test_signals_do_not_disturb_the_end(make_daemon):
    """However many, and however late, they come."""
    daemon = make_daemon({})
    daemon.signal(signal.SIGTERM)
    for n in range(1 << 30):
        if daemon.process.poll() is not None:
            break
        daemon.signal((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[n % 3])
        time.sleep(0.001)
    assert daemon.await_exit() == 0


def test_a_second_sigterm_ends_it_now(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, kill_grace="200ms")}, "limits": {"shutdown_drain": "60s"}})
    client = daemon.leased()
    stream = client.exec("echo $$; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    mark = daemon.log.mark()
    daemon.signal(signal.SIGTERM)
    daemon.log.find(r"(?i)(stopp|shut|drain|signal)", after=mark)
    assert not watch.gone(0.2) and not client.ended
    daemon.signal(signal.SIGTERM)
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "shutdown"
    assert daemon.await_exit() == 0
    watch.await_gone()


def test_the_drain_ends(make_daemon, sshd, target):
    """After shutdown_drain what is still leased is reclaimed, remote commands and all."""
    daemon = make_daemon({"targets": {"t": target(sshd, kill_grace="200ms")}, "limits": {"shutdown_drain": "500ms"}})
    client = daemon.leased()
    stream = client.exec("setsid sleep 300 & echo $!; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    daemon.signal(signal.SIGTERM)
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "shutdown"
    assert daemon.await_exit() == 0
    watch.await_gone()
    sshd.await_nothing_remote(timeout=5)


def test_sigint_is_like_sigterm(daemon):
    daemon.signal(signal.SIGINT)
    assert daemon.await_exit() == 0


def test_sigterm_while_dialing(make_daemon, sshd, make_proxy, target):
    proxy = make_proxy(sshd)
    proxy.black_hole = True
    daemon = make_daemon({"targets": {"t": target(sshd, via=proxy)}})
    client = daemon.client()
    rid = client.start_acquire("t")
    daemon.await_connections(dialing=1)
    daemon.signal(signal.SIGTERM)
    assert native.CODES[client.answer("ERROR", rid=rid).code] == "shutdown"
    assert daemon.await_exit() == 0


def test_a_killed_daemon_is_known_at_once(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1)}})
    leased, waiting = daemon.leased(), daemon.client()
    leased.exec("exec sleep 300").await_opened()
    waiting.start_acquire("t")
    waiting.status()
    begin = time.monotonic()
    daemon.kill()
    for client in (leased, waiting):
        with pytest.raises(native.Closed):
            client.pump(lambda: False, timeout=10)
    assert time.monotonic() - begin < 5
    sshd.kill_remote()


def test_it_leaves_no_core_and_hides_its_memory(daemon):
    with open(f"/proc/{daemon.pid}/limits", encoding="ascii") as f:
        line = next(x for x in f if x.startswith("Max core file size"))
    assert line.split()[4] == "0"


def test_the_log_has_one_line_per_fact_and_no_commands(daemon):
    client = daemon.leased(label="evil\nlabel=\"x\"")
    client.run("echo the-secret-command")
    client.close()
    daemon.log.find("reason=client-gone")
    assert not any("the-secret-command" in line for line in daemon.log.lines)
    assert not any(line.startswith('label="x"') for line in daemon.log.lines)
    assert len(daemon.log.matches("^\\S+ notice lease .*granted -> ended reason=client-gone")) == 1
