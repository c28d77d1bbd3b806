# SPDX-License-Identifier: MIT
"""A reload that takes somebody's right to lease a target: places in the queue, leases, sessions and forwards go; nobody
else notices. The daemon runs as root here, and its clients are two other accounts."""

import contextlib
import os
import pwd
import subprocess
import sys

import pytest

from daemon import ROOT, program
from native import Client
from procs import Watch
from sshd import free_port
from ssh_tools import other_user
from tunnels import Far, assert_carries, await_port, dial, digest, echo, read_all
from waiting import until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("reachable")]

GONE = "no longer allowed: the configuration does not let you lease t any more, and lease "


class Shop:
    """The daemon, its target `t`, and who may lease it: at first `lost` and `stays`."""

    def __init__(self, make_tools, settings, lost):
        self.lost, self.stays = lost, pwd.getpwnam("nobody")
        self.settings = settings
        self.tools = make_tools({"t": {**settings, "allow": {"users": [self.lost.pw_name, self.stays.pw_name]}}})
        self.daemon = self.tools.daemon
        self.running = []

    def allow(self, **allow):
        """A reload after which nobody else may."""
        self.daemon.write_config({**self.daemon.config, "targets": {"t": {**self.settings, "allow": allow}}})
        return self.daemon.cli("reload")

    def disallow(self):
        done = self.allow(users=[self.stays.pw_name])
        assert done.returncode == 0, done.stderr

    def start(self, process):
        self.running.append(process)
        return process

    def exec(self, user, command, *options):
        return self.start(self.daemon.cli_start("exec", *options, "t", "--", command, user=user))

    def ssh(self, user, *args):
        words = [*other_user(self.tools, user), *self.tools.words("ssh", *args)]
        return self.start(subprocess.Popen(words, env=self.tools.env(HOME="/"), cwd="/", stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    def waiting(self, count):
        until(lambda: self.daemon.target()["waiters"] == count, f"{count} wait")

    def end(self):
        for process in self.running:
            process.kill()
            process.communicate()


@pytest.fixture
def open_shop(make_tools, sshd, target, account):
    shops = []

    def make(**settings):
        shops.append(Shop(make_tools, target(sshd, permit_remote_open="any", **settings), account))
        return shops[-1]
    yield make
    for shop in shops:
        shop.end()


def first_line(process):
    return process.stdout.readline()


def test_a_place_in_the_queue(open_shop):
    shop = open_shop(max_connections=1)
    holder = shop.daemon.leased()  # root's
    lost = shop.exec(shop.lost, "echo must not run")
    shop.waiting(1)
    by_ssh = shop.ssh(shop.lost, "t", "echo must not run")
    shop.waiting(2)
    stays = shop.exec(shop.stays, "echo in")
    shop.waiting(3)
    shop.disallow()
    for process in (lost, by_ssh):
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (255, b"")
        assert b"not allowed to lease t" in err, err
    shop.waiting(1)
    assert stays.poll() is None
    holder.release()
    out, err = stays.communicate(timeout=20)
    assert (stays.returncode, out, err) == (0, b"in\n", b"")
    assert len(list(shop.daemon.log.matches(r"waiting -> refused reason=not-allowed status=not-allowed"))) == 2


def test_a_lease(open_shop):
    shop = open_shop()
    lost = shop.exec(shop.lost, "echo $$; exec sleep 4000")
    process = Watch(int(first_line(lost)))
    stays = shop.exec(shop.stays, "echo in; exec cat")
    assert first_line(stays) == b"in\n"
    shop.disallow()
    out, err = lost.communicate(timeout=20)
    assert (lost.returncode, out) == (255, b"")
    assert GONE.encode() in err and err.count(b"\n") == 1, err
    process.await_gone()
    process.close()
    until(lambda: list(shop.daemon.log.matches(r"granted -> ended reason=not-allowed")), "the log says so")
    until(lambda: list(shop.daemon.log.matches(r"reclaim.* reason=not-allowed .*signalled=1")), "it is cleaned up after")
    out, err = stays.communicate(b"still there", timeout=20)
    assert (stays.returncode, out, err) == (0, b"still there", b"")
    done = shop.daemon.cli("exec", "t", "--", "true", user=shop.lost)
    assert done.returncode == 255 and b"not allowed to lease t" in done.stderr


def test_a_lease_of_the_protocol(open_shop):
    shop = open_shop()
    with as_effective(shop.lost):
        client = Client(shop.daemon.path)
    with client:
        lease = client.acquire("t").lease
        shop.disallow()
        ended = client.pump(lambda: client.ended)
        assert (ended.lease, ended.code) == (lease, 5)
        assert ended.text == f"{GONE}{lease} of it has ended"
        rid = client.rid()
        client.send("RENEW", rid=rid, lease_timeout_ms=0)
        assert client.answer("ERROR", rid=rid).code == 30
        rid = client.start_acquire("t")
        assert client.answer("ERROR", rid=rid).code == 5


@contextlib.contextmanager
def as_effective(user):
    """The kernel tells the daemon the effective user, and the groups of the process, when a socket connects."""
    groups = os.getgroups()
    os.setgroups([user.pw_gid])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def test_python_raises_revoked(open_shop):
    shop = open_shop()
    code = """
import sys, sshlease
try:
    with sshlease.lease("t", socket=sys.argv[1]) as c:
        print("in", flush=True)
        c.run("exec sleep 4000")
except sshlease.Revoked as e:
    print(isinstance(e, sshlease.LeaseEnded), e.name, e.retryable, e)
"""
    words = [*other_user(shop.tools, shop.lost), sys.executable, "-c", code, shop.daemon.path]
    source = os.path.join(ROOT, "client", "python", "src")
    lost = shop.start(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                                       env={**os.environ, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"}))
    assert first_line(lost) == b"in\n"
    shop.tools.await_leases(1)
    shop.disallow()
    out, err = lost.communicate(timeout=20)
    assert out.decode().startswith(f"True not-allowed False {GONE}"), (out, err)


def test_a_session_of_ssh(open_shop):
    shop = open_shop()
    lost = shop.ssh(shop.lost, "t", "echo $$; exec sleep 4000")
    process = Watch(int(first_line(lost)))
    stays = shop.ssh(shop.stays, "t", "echo in; exec cat")
    assert first_line(stays) == b"in\n"
    shop.disallow()
    out, err = lost.communicate(timeout=20)
    assert (lost.returncode, out) == (255, b"")
    assert GONE.encode() in err, err
    process.await_gone()
    process.close()
    out, err = stays.communicate(b"still there", timeout=20)
    assert (stays.returncode, out, err) == (0, b"still there", b"")
    done = shop.ssh(shop.lost, "t", "echo must not run")
    out, err = done.communicate(timeout=20)
    assert (done.returncode, out) == (255, b"")


@pytest.mark.parametrize("how", ["session", "standing"])
def test_forwards(open_shop, how):
    """Of an ssh that stays, and those that only the daemon has."""
    shop = open_shop()
    with Far(serve=echo) as far, Far(serve=digest) as far_of_stays:
        ports = [free_port(), free_port(), free_port()]
        forwards = ["-L", f"{ports[0]}:127.0.0.1:{far.port}", "-R", f"{ports[1]}:127.0.0.1:{far.port}", "-D", f"{ports[2]}"]
        kept = free_port()
        keeps = shop.ssh(shop.stays, "-O", "forward", "-L", f"{kept}:127.0.0.1:{far_of_stays.port}", "t")
        assert keeps.wait(20) == 0, keeps.stderr.read()
        if how == "session":
            lost = shop.ssh(shop.lost, "-N", *forwards, "t")
        else:
            lost = shop.ssh(shop.lost, "-O", "forward", *forwards, "t")
            assert lost.wait(20) == 0, lost.stderr.read()
        for port in ports:
            await_port(port).close()
        with dial(ports[0]) as through:
            through.sendall(b"in")
            assert through.recv(2) == b"in"
            shop.disallow()
            assert read_all(through) == b""
        for port in ports:
            until(lambda port=port: dial(port) is None, f"port {port} is closed")
        if how == "session":
            _, err = lost.communicate(timeout=20)
            assert lost.returncode == 255 and GONE.encode() in err, err
        shop.tools.await_leases(1)
        assert_carries(kept)
        cancels = shop.ssh(shop.stays, "-O", "cancel", "-L", f"{kept}:127.0.0.1:{far_of_stays.port}", "t")
        assert cancels.wait(20) == 0


def test_a_reload_that_fails_changes_nothing(open_shop):
    shop = open_shop(max_connections=1)
    lost = shop.exec(shop.lost, "echo in; exec cat")
    assert first_line(lost) == b"in\n"
    waits = shop.exec(shop.lost, "echo in too")
    shop.waiting(1)
    done = shop.allow(users=[shop.stays.pw_name], people=["no such setting"])
    assert done.returncode == 1 and b"people" in done.stderr, done.stderr
    out, err = lost.communicate(b"still there", timeout=20)
    assert (lost.returncode, out, err) == (0, b"still there", b"")
    assert waits.communicate(timeout=20) == (b"in too\n", b"")


def test_the_groups_are_those_of_the_connect(open_shop):
    """As everywhere on Unix: whoever has left a group has it until he logs in anew."""
    shop = open_shop()
    group = f"sshlease-{os.getpid()}"
    subprocess.run(["groupadd", group], check=True)
    try:
        subprocess.run(["gpasswd", "-a", shop.lost.pw_name, group], check=True, capture_output=True)
        assert shop.allow(groups=[group]).returncode == 0
        words = ["setpriv", f"--reuid={shop.lost.pw_uid}", f"--regid={shop.lost.pw_gid}", "--init-groups"]
        held = shop.start(subprocess.Popen([*words, program("sshlease"), "exec", "t", "--", "echo in; exec cat"], env=shop.daemon.cli_env(),
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        assert first_line(held) == b"in\n"
        subprocess.run(["gpasswd", "-d", shop.lost.pw_name, group], check=True, capture_output=True)
        assert shop.allow(groups=[group]).returncode == 0
        shop.tools.await_leases(1)
        # A new connection counts as what its user is now.
        done = shop.daemon.cli("exec", "t", "--", "true", user=shop.lost)
        assert done.returncode == 255 and b"not allowed to lease t" in done.stderr
        assert shop.allow(users=[shop.stays.pw_name]).returncode == 0
        _, err = held.communicate(timeout=20)
        assert held.returncode == 255 and GONE.encode() in err, err
    finally:
        subprocess.run(["groupdel", group], check=True)
