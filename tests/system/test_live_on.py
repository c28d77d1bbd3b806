# SPDX-License-Identifier: MIT
"""What is to live on when its lease is reclaimed: the documented way out of the clean-up, with real tmux."""

import os
import shutil
import signal
import subprocess

import pytest

import procs
from ssh_tools import on_terminal
from waiting import until

pytestmark = [pytest.mark.pty, pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux")]

OUT = "env -u LC_SSHLEASE -u SSH_CONNECTION"


def sleepers(seconds):
    return [pid for pid in procs.every() if procs.cmdline(pid) == f"sleep {seconds}" and procs.alive(pid)]


@pytest.fixture(params=["cookie", "no cookie"])
def far(request, make_tools, make_sshd, target):
    """The clean-up goes by LC_SSHLEASE, or, where the server takes no variable, by SSH_CONNECTION."""
    server = make_sshd() if request.param == "cookie" else make_sshd(accept_env=None)
    tools = make_tools({"t": target(server, kill_grace="400ms")})
    tools.takes_cookies = request.param == "cookie"
    return tools


@pytest.fixture
def socket(remote_dir):
    """Of a tmux server on the far side, which is ended whatever happens."""
    path = os.path.join(remote_dir, "socket")
    yield path
    subprocess.run(["tmux", "-S", path, "kill-server"], capture_output=True, check=False)
    for pid in [*sleepers(99731), *sleepers(99732)]:
        os.kill(pid, signal.SIGKILL)


def reclaim(tools, ssh):
    """Kills the client and waits for the end of the clean-up."""
    ssh.kill()
    ssh.communicate()
    tools.daemon.await_connections(leased=0, draining=0, closing=0)


@pytest.mark.parametrize("way, lives", [("", lambda cookies: False), ("env -u LC_SSHLEASE", lambda cookies: cookies),
                                        (OUT, lambda cookies: True)], ids=["as it is", "half way out", "out"])
def test_tmux(far, socket, way, lives):
    lives = lives(far.takes_cookies)
    ssh = far.start("ssh", "t", f"{way} tmux -S {socket} -f /dev/null new-session -d 'sleep 99731'; echo begun; sleep 300")
    assert ssh.stdout.readline() == b"begun\n"
    until(lambda: sleepers(99731), "it runs in tmux")
    reclaim(far, ssh)
    assert bool(sleepers(99731)) == lives
    if lives:
        assert b"1 windows" in far.good("ssh", "t", f"tmux -S {socket} list-sessions")


@pytest.mark.parametrize("way, lives", [("setsid", False), (f"{OUT} setsid", True)], ids=["as it is", "out"])
def test_a_daemon(far, socket, way, lives):
    ssh = far.start("ssh", "t", f"{way} sleep 99732 >/dev/null 2>&1 </dev/null & echo begun; sleep 300")
    assert ssh.stdout.readline() == b"begun\n"
    until(lambda: sleepers(99732), "it runs")
    reclaim(far, ssh)
    assert bool(sleepers(99732)) == lives


@pytest.mark.parametrize("way", ["", OUT], ids=["as it is", "out"])
def test_tmux_that_a_later_lease_attaches_to(far, socket, way):
    """tmux gives windows that are opened later the SSH_CONNECTION of whoever has attached last."""
    assert far.good("ssh", "t", f"{OUT} tmux -S {socket} -f /dev/null new-session -d -s main 'sleep 99731'; echo begun") == b"begun\n"
    with on_terminal(far, "-t", "t", f"{way} tmux -S {socket} attach -t main", TERM="xterm") as terminal:
        terminal.expect("main")
        far.good("ssh", "t", f"tmux -S {socket} new-window -d -t main 'sleep 99732'")
        until(lambda: sleepers(99732), "the second window")
        os.kill(terminal.pid, signal.SIGKILL)
        far.daemon.await_connections(leased=0, draining=0, closing=0)
    assert sleepers(99731)
    assert bool(sleepers(99732)) == (bool(way) or far.takes_cookies)
