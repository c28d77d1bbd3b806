# SPDX-License-Identifier: MIT
"""The places where clients look for the daemon: somebody removes its sockets, or their directory, under it."""

import contextlib
import grp
import os
import shutil
import signal
import stat
import subprocess

import pytest

from daemon import program
from waiting import NotInTime, until


@pytest.fixture
def run_dir(tmp_path_factory):
    """A directory for sockets that a test may remove."""
    return str(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def make_placed(make_daemon, run_dir, sshd, target):
    """make_placed(user=…, args=…): a daemon whose socket is in run_dir."""
    def make(**more):
        os.makedirs(run_dir, exist_ok=True)
        path = os.path.join(run_dir, "s.sock")
        config = more.pop("config", {})
        daemon = make_daemon({"listen": {"path": path, "mode": "0640"}, "targets": {"t": target(sshd)}, **config},
                             start=False, **more)
        daemon.path = path
        return daemon.start()
    return make


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def is_socket(path):
    return os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)


def test_a_socket_that_was_removed_is_made_again(make_placed):
    daemon = make_placed()
    before = daemon.leased()
    os.unlink(daemon.path)
    until(lambda: is_socket(daemon.path), "the socket is made again")
    assert stat.S_IMODE(os.stat(daemon.path).st_mode) == 0o640
    assert daemon.leased().run("echo new").stdout == b"new\n"
    assert before.run("echo old").stdout == b"old\n"
    daemon.log.find("the socket was removed, and is made again")


def test_a_directory_that_is_made_anew(make_placed, run_dir):
    daemon = make_placed()
    before = daemon.leased()
    shutil.rmtree(run_dir)
    daemon.log.find(f"the socket was removed, and cannot be made again yet: {daemon.path}")
    assert before.run("echo old").stdout == b"old\n"
    os.mkdir(run_dir)
    until(lambda: is_socket(daemon.path), "the socket is made again")
    assert daemon.leased().run("echo new").stdout == b"new\n"


def test_a_directory_that_goes_with_the_one_above_it(make_placed, run_dir):
    """The kernel tells nothing of that, so it takes up to 30 s."""
    daemon = make_placed()
    above = os.path.dirname(run_dir)
    os.rename(above, f"{above}.away")
    os.makedirs(run_dir)
    until(lambda: is_socket(daemon.path), "the socket is made again", timeout=40, interval=0.1)
    assert daemon.leased().run("echo new").stdout == b"new\n"


def test_no_other_takes_the_place_meanwhile(make_placed, make_daemon):
    daemon = make_placed()
    with stopped(daemon.pid):
        os.unlink(daemon.path)
        second = make_daemon(daemon.config, start=False)
        second.config_file, second.sane_end = daemon.config_file, False
        second.spawn()
        assert second.await_exit() == 1
        assert second.log.matches(f"{daemon.path}: another daemon is starting there, or has lost its socket")
        assert not os.path.exists(daemon.path)
    until(lambda: is_socket(daemon.path), "the socket is made again")
    assert daemon.status()["pid"] == daemon.pid


def test_in_whose_place_another_one_listens_ends(make_placed, run_dir):
    """The directory is another one now, and so is the lock in it."""
    first = make_placed()
    held = first.leased()
    with stopped(first.pid):
        os.rename(run_dir, f"{run_dir}.old")
        second = make_placed()
    first.log.find("cannot be made again yet: .*another daemon is listening there")
    assert held.run("echo served").stdout == b"served\n"
    assert second.status()["pid"] == second.pid
    held.release()
    assert first.await_exit() == 0
    assert len(first.log.matches("reason=unreachable")) == 1
    assert second.leased().run("echo fine").stdout == b"fine\n"
    second.stop()


def test_a_user_s_daemon_without_a_directory_ends(make_placed, run_dir, sshd):
    daemon = make_placed(args=["--user"])
    held = daemon.leased()
    shutil.rmtree(run_dir)
    daemon.log.find("cannot be made again yet")
    assert held.run("sleep 11; echo served", timeout=30).stdout == b"served\n"
    assert daemon.process.poll() is None
    held.release()
    assert daemon.await_exit() == 0
    assert len(daemon.log.matches("reason=unreachable: .*no lease is left, so this daemon ends")) == 1


def test_the_system_s_goes_on_trying(make_placed, run_dir):
    daemon = make_placed()
    shutil.rmtree(run_dir)
    daemon.log.find("cannot be made again yet")
    with pytest.raises(NotInTime, match="did not end"):
        daemon.await_exit(12)
    os.mkdir(run_dir)
    until(lambda: is_socket(daemon.path), "the socket is made again")
    assert len(daemon.log.matches("cannot be made again yet")) == 1


@pytest.mark.parametrize("what", ["socket", "name", "directory"])
def test_mux_sockets_are_made_again(tools, sshd, what):
    directory = os.path.join(tools.dir, "mux")
    names = {"t", f"{sshd.user}@t"}
    assert set(os.listdir(directory)) == names
    if what == "directory":
        shutil.rmtree(directory)
    else:
        os.unlink(os.path.join(directory, "t" if what == "socket" else f"{sshd.user}@t"))
    until(lambda: os.path.isdir(directory) and set(os.listdir(directory)) == names, "they are made again")
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o755
    assert tools.good("ssh", "t", "echo in") == b"in\n"


def test_a_mux_directory_that_another_daemon_had(make_tools, make_daemon, sshd, target, tmp_path):
    """Sockets that could not be made are made when they can be, without a reload."""
    first = make_tools({"t": target(sshd)})
    second = make_daemon({"mux": {"directory": os.path.join(first.dir, "mux")}, "targets": {"t": target(sshd)}})
    second.log.find("target=t has no mux socket: .*another daemon is listening there")
    first.daemon.stop()
    path = os.path.join(first.dir, "mux", "t")
    until(lambda: is_socket(path), "the second daemon's socket", timeout=40, interval=0.1)
    assert first.good("ssh", "-S", path, "t", "echo in") == b"in\n"


@pytest.mark.root
def test_who_may_not_connect_is_told_who_may(make_daemon, account, reachable):
    """By the group's name; and who has joined it since the login, why that is not enough."""
    group = grp.getgrgid(account.pw_gid).gr_name

    def refused(mode, *groups):
        """What somebody of these groups is told, where the socket is for the account's."""
        os.chmod(daemon.path, mode)
        done = subprocess.run(["setpriv", f"--reuid={account.pw_uid}", *groups, program("sshlease"), "status"],
                              env=daemon.cli_env(), capture_output=True, text=True, check=False)
        return done.returncode, done.stderr
    daemon = make_daemon({"targets": {}})
    os.chown(daemon.path, 0, account.pw_gid)
    said = f"sshlease: no permission to connect to {daemon.path}"
    assert refused(0o660, f"--regid={account.pw_gid}", "--clear-groups") == (0, "")
    assert refused(0o660, "--regid=65534", "--clear-groups") == (
        1, f"{said}, which is for the group {group} (you are in it from your next login on)\n")
    assert refused(0o600, f"--regid={account.pw_gid}", "--clear-groups") == (1, f"{said}\n")
    os.chown(daemon.path, 0, 0)
    assert refused(0o660, f"--regid={account.pw_gid}", "--clear-groups") == (
        1, f"{said}, which is for the group {grp.getgrgid(0).gr_name}\n")
