# SPDX-License-Identifier: MIT
"""A restart is no outage: who has sent nothing yet waits for the next daemon, by itself."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import native
import ssh_tools
from daemon import ROOT, program
from services import Service
from waiting import until

PACKAGE = os.path.join(ROOT, "client", "python", "src")
# Leases over and over until its input ends; one line for each time, and one with the error if there is one.
LOOP = """
import asyncio, select, sys
import sshlease, sshlease.aio

def over():
    return bool(select.select([0], [], [], 0)[0])

def blocking():
    while not over():
        with sshlease.lease("t") as c:
            assert c.run("echo in", check=True).stdout == "in\\n"
        print("ok", flush=True)

async def tasks():
    while not over():
        async with sshlease.aio.lease("t") as c:
            assert (await c.run("echo in", check=True)).stdout == "in\\n"
        print("ok", flush=True)

try:
    blocking() if sys.argv[1] == "blocking" else asyncio.run(tasks())
except BaseException as e:
    print("error", type(e).__name__, e, flush=True)
"""
# Asks for what does not come in time.
LATE = """
import asyncio, sshlease, sshlease.aio

def on_waiting(position, seconds, reason):
    print("told", position, seconds >= 1, reason)

async def task():
    async with sshlease.aio.lease("t", timeout=1.3, on_waiting=on_waiting):
        pass

for ask in (lambda: sshlease.lease("t", timeout=0.7, on_waiting=on_waiting),
            lambda: sshlease.lease("t", timeout=1.3, on_waiting=on_waiting), lambda: asyncio.run(task())):
    try:
        ask()
    except sshlease.Timeout as e:
        print(e.unsent, e.name, e)
"""
EXEC_LOOP = """while :; do
  said=$("$0" exec -q t -- echo in 2>&1) && [ "$said" = in ] && echo ok || { echo "error $? $said"; }
  read -t 0 && exit 0
done"""


@pytest.fixture(params=[True, False], ids=["socket-unit", "own-socket"])
def service(request, make_daemon, sshd, target):
    """service(limits…): a daemon with a target `t`, that can be restarted."""
    made = []

    def make(limits=None, **settings):
        daemon = make_daemon({"targets": {"t": target(sshd, **settings)}, "limits": limits or {}}, start=False)
        made.append(Service(daemon, request.param))
        return made[-1].start()
    yield make
    for one in made:
        one.close()


class Loop:
    """A program that leases over and over; `results`: its lines."""

    def __init__(self, words, env):
        self.process = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.results = []
        self.thread = threading.Thread(target=lambda: self.results.extend(iter(self.process.stdout.readline, "")))
        self.thread.start()

    def await_more(self, count=2):
        seen = len(self.results)
        until(lambda: len(self.results) >= seen + count, lambda: f"{count} results more: {self.results[-3:]}", 30)

    def end(self):
        self.process.stdin.write("\n")
        self.process.stdin.close()
        self.thread.join()
        self.process.stdout.close()
        assert self.process.wait(30) == 0
        return self.results


def exec_loop(daemon):
    return Loop(["bash", "-c", EXEC_LOOP, program("sshlease")], daemon.cli_env())


def begin_to_drain(daemon):
    """It is told to end, and somebody has a lease still."""
    daemon.signal(signal.SIGTERM)
    until(lambda: daemon.status()["state"] == "stopping", "the daemon stopping")


def python_loop(daemon, kind):
    return Loop([sys.executable, "-c", LOOP, kind], {**daemon.cli_env(), "PYTHONPATH": PACKAGE})


@pytest.mark.parametrize("service", [pytest.param(True, id="socket-unit"),
                                     pytest.param(False, id="own-socket", marks=pytest.mark.full)], indirect=True)
def test_restarts_under_load(service):
    """Ten loops of the command line, two of Python's, one lease that is held until the drain's end: no error but that
    lease's, and all go on."""
    one = service({"shutdown_drain": "1s"}, kill_grace="200ms")
    daemon = one.daemon
    loops = [exec_loop(daemon) for _ in range(10)] + [python_loop(daemon, kind) for kind in ("blocking", "tasks")]
    try:
        for _ in range(3):
            held = daemon.cli_start("exec", "t", "--", "echo in; exec sleep 600", stdin=subprocess.DEVNULL)
            assert held.stdout.readline() == b"in\n"
            for loop in loops:
                loop.await_more()
            one.restart()
            assert b"shutting down" in held.communicate(timeout=30)[1] and held.returncode == 255
            for loop in loops:
                loop.await_more()
    finally:
        results = [loop.end() for loop in loops]
    wrong = [line for lines in results for line in lines if line != "ok\n"]
    assert not wrong, wrong
    one.end()


def test_a_waiter_is_served_by_the_next(service):
    """It was in the queue when the daemon was told to stop; another comes later. Both are told what they wait for."""
    one = service({"shutdown_drain": "30s"}, max_connections=1)
    daemon = one.daemon
    held = daemon.leased()
    early = daemon.cli_start("exec", "t", "--", "echo early")
    until(lambda: daemon.target()["waiters"] == 1, "a waiter")
    begin_to_drain(daemon)
    late = daemon.cli_start("exec", "t", "--", "echo late")
    for client in (early, late):
        assert client.stderr.readline().decode() == (
            "sshlease: waiting for t: target t: sshleased is shutting down, 1 lease left; nothing was sent\n")
    held.release()
    daemon.await_exit()
    one.start()
    for client, said in ((early, b"early\n"), (late, b"late\n")):
        assert client.communicate(timeout=20) == (said, b"") and client.returncode == 0
    one.end()


def test_who_has_less_time_is_told_in_time(service):
    one = service({"shutdown_drain": "30s"})
    daemon = one.daemon
    held = daemon.leased()
    begin_to_drain(daemon)
    begin = time.monotonic()
    done = daemon.cli("exec", "--acquire-timeout", "700ms", "t", "--", "echo never")
    assert done.returncode == 255 and 0.7 <= time.monotonic() - begin < 5
    assert b"target t: sshleased is shutting down, 1 lease left; nothing was sent; waited " in done.stderr
    done = subprocess.run([sys.executable, "-c", LATE], env={**daemon.cli_env(), "PYTHONPATH": PACKAGE},
                          capture_output=True, text=True, check=True)
    why = "target t: sshleased is shutting down, 1 lease left; nothing was sent"
    told = [f"told 0 True {why}"] * 2  # not the first, who has less time than that
    assert [line.split("; waited ")[0] for line in done.stdout.splitlines()] == (
        [f"True timeout {why}", told[0], f"True timeout {why}", told[1], f"True timeout {why}"]), done
    held.release()
    daemon.await_exit()


def test_nobody_waits_for_long_where_none_comes(service):
    """A service that was stopped for good: for some seconds it could be a restart."""
    one = service()
    daemon = one.daemon
    one.end()
    begin = time.monotonic()
    if one.listener is not None:
        one.listener.close()
        os.unlink(daemon.path)  # RemoveOnStop
    done = daemon.cli("exec", "t", "--", "true")
    assert done.returncode == 255 and b"no sshleased is listening at" in done.stderr
    taken = time.monotonic() - begin
    assert taken < (2 if one.listener is not None else 8)


def test_a_daemon_started_by_hand_lets_the_next_begin(make_daemon, sshd, target):
    """Nobody starts another when it has ended, so one may be started at once, and serves while the first one drains."""
    config = {"targets": {"t": target(sshd)}, "limits": {"shutdown_drain": "30s"}}
    first = make_daemon(config)
    held = first.leased()
    first.signal(signal.SIGTERM)
    until(lambda: not os.path.exists(first.path), "the socket gone")
    begin = time.monotonic()
    assert b"no sshleased is listening at" in first.cli("exec", "t", "--", "true").stderr
    assert time.monotonic() - begin < 2
    second = make_daemon({**config, "listen": {"path": first.path}}, start=False)
    second.path = first.path
    second.start()
    assert second.leased().run("echo beside").stdout == b"beside\n"
    held.release()
    assert first.await_exit() == 0
    assert second.leased().run("echo still").stdout == b"still\n"


def test_ssh_is_refused_aloud_meanwhile(make_daemon, sshd, target, tmp_path_factory):
    """And finds no way past the daemon."""
    directory = str(tmp_path_factory.mktemp("d"))
    daemon = make_daemon({"mux": {"directory": os.path.join(directory, "mux")}, "targets": {"t": target(sshd)},
                          "limits": {"shutdown_drain": "30s"}}, start=False)
    one = Service(daemon, True).start()
    tools = ssh_tools.Tools(daemon, directory)
    held = daemon.leased()
    begin_to_drain(daemon)
    for words in (["t", "echo never"], ["-N", "-L", "127.0.0.1:45917:127.0.0.1:9", "t"], ["-W", "127.0.0.1:9", "t"]):
        done = tools.run("ssh", *words)
        assert done.returncode == 255 and not done.stdout, done
        # A forward of its own is refused in a way that ssh cannot go round, which has no text.
        assert b"unexpected response from master" in done.stderr if "-L" in words else (
            b"target t: sshleased is shutting down, 1 lease left; nothing was sent; try again when it is back" in done.stderr), done
    assert daemon.connections() == {"dialing": 0, "idle": 0, "leased": 1, "draining": 0, "closing": 0}
    assert sshd.connections() == 1
    held.release()
    daemon.await_exit()
    done = tools.run("ssh", "t", "echo never")
    assert done.returncode == 255 and not done.stdout and b"sshlease: no sshleased answers" in done.stderr, done
    one.start()
    assert tools.good("ssh", "t", "echo in") == b"in\n"
    one.end()
    one.close()


def test_status_and_others_answer_while_it_drains(service):
    one = service({"shutdown_drain": "30s"})
    daemon = one.daemon
    held = daemon.leased()
    begin_to_drain(daemon)
    done = daemon.cli("status")
    assert done.returncode == 0 and b"stopping" in done.stdout
    with daemon.client() as client:
        with pytest.raises(native.Error) as e:
            client.reload()
        assert e.value.name == "shutdown"
    lease = daemon.status()["leases"][0]["id"]
    assert daemon.cli("end", lease).returncode == 0  # what ends a restart that takes too long
    held.pump(lambda: held.ended)
    assert daemon.await_exit() == 0


def test_more_than_the_daemon_takes(service):
    """Those for whom it has no place while it drains come again."""
    one = service({"shutdown_drain": "30s", "clients": 3})
    daemon = one.daemon
    held = daemon.leased()
    begin_to_drain(daemon)
    clients = [daemon.cli_start("exec", "-q", "t", "--", "echo in") for _ in range(12)]
    daemon.log.find("refused reason=shutdown")
    held.release()
    held.close()
    daemon.await_exit()
    daemon.write_config({**daemon.config, "limits": {}})
    one.start()
    for client in clients:
        assert client.communicate(timeout=30) == (b"in\n", b"") and client.returncode == 0
    one.end()
