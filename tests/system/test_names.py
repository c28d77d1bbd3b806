# SPDX-License-Identifier: MIT
"""Name services that hang: users, groups, hosts. They hold up who asks for a name, and nobody else."""

import json
import os
import time

import pytest

import daemon as daemons
from waiting import until


class Names:
    """Name services of a daemon, which hang for what hang() names."""

    def __init__(self, directory):
        self.dir = str(directory)

    @property
    def env(self):
        return {"HANGING_NAMES": self.dir, "LD_PRELOAD": os.path.join(daemons.build(), "lib", "hanging_names.so"),
                "ASAN_OPTIONS": daemons.sanitizer_env()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}

    def hang(self, name):
        with open(os.path.join(self.dir, name), "w", encoding="ascii"):
            pass

    def answer(self):
        for name in os.listdir(self.dir):
            os.unlink(os.path.join(self.dir, name))


@pytest.fixture
def names(tmp_path):
    directory = tmp_path / "names"
    directory.mkdir()
    one = Names(directory)
    yield one
    one.answer()


@pytest.fixture
def named(make_daemon, names, sshd, target):
    """named(**targets): a daemon with those name services, and a target t besides. The command line has good ones."""
    def make(**targets):
        # The daemon's end must not wait for what hangs: it is checked with the rest of it.
        daemon = make_daemon({"targets": {"t": target(sshd), **targets}}, start=False)
        daemon.env.update(names.env)
        daemon.start()
        for name in names.env:
            del daemon.env[name]
        return daemon
    return make


def test_users_that_are_not_found(named, names, sshd, target):
    daemon = named(cold=target(sshd))
    holder = daemon.leased()
    names.hang("users")
    asking = [daemon.cli_start("status") for _ in range(8)]
    until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) > 16, "they have connected")
    began = time.monotonic()
    done = daemon.cli("exec", "cold", "--", "echo in", timeout=20)
    assert done.stdout == b"in\n", done.stderr
    assert holder.run("echo served").stdout == b"served\n"
    assert time.monotonic() - began < 8
    for one in asking:
        out, err = one.communicate(timeout=20)
        assert one.returncode == 0 and str(os.getuid()).encode() in out, err
        assert b"the user database does not answer" in err
    with daemon.client() as client:
        status = json.loads(client.status())
    assert status["leases"][0]["user"] == str(os.getuid()) and "user database" in status["warning"]
    names.answer()
    until(lambda: "warning" not in daemon.status(), "names are known again")
    assert daemon.status()["leases"][0]["user"] == "root" or os.getuid() != 0


@pytest.mark.parametrize("what", ["users", "groups"])
def test_a_reload(named, names, sshd, target, what):
    daemon = named()
    daemon.write_config({"targets": {"t": target(sshd, allow={what: ["root"]}), "new": target(sshd)}})
    names.hang(what)
    reload = daemon.cli_start("reload")
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    _, err = reload.communicate(timeout=25)
    assert reload.returncode != 0 and b"the user database or a file system does not answer" in err
    assert [t["name"] for t in daemon.status()["targets"]] == ["t"]
    names.answer()
    assert daemon.cli("reload").returncode == 0
    assert {t["name"] for t in daemon.status()["targets"]} == {"t", "new"}


def test_hosts(named, names, sshd, target):
    known = sshd.known_hosts_line(f"[localhost]:{sshd.port}")
    gone = {f"gone{i}": target(sshd, host=f"gone{i}.invalid", connect_timeout="2s") for i in range(8)}
    daemon = named(byname=target(sshd, host="localhost", known=known), **gone)
    for i in range(8):
        names.hang(f"gone{i}.invalid")
    asking = [daemon.cli_start("exec", f"gone{i}", "--acquire-timeout", "4s", "--", "true") for i in range(8)]
    until(lambda: sum(t["connections"]["dialing"] for t in daemon.status()["targets"]) == 8, "all of them are looked up")
    began = time.monotonic()
    assert daemon.cli("exec", "t", "--", "echo address").stdout == b"address\n"
    assert daemon.cli("exec", "byname", "--", "echo name").stdout == b"name\n"
    assert time.monotonic() - began < 2
    for one in asking:
        _, err = one.communicate(timeout=20)
        assert one.returncode == 255 and b"the resolver does not answer" in err, err


def test_a_reload_looks_hosts_up(named, names, sshd, target):
    known = sshd.known_hosts_line(f"[localhost]:{sshd.port}")
    many = {f"t{i}": target(sshd, host="localhost", known=known) for i in range(12)}
    daemon = named(cold=target(sshd), **many)
    for name in many:
        assert daemon.cli("exec", name, "--", "echo in").stdout == b"in\n"
    names.hang("localhost")
    assert daemon.cli("reload").returncode == 0
    began = time.monotonic()
    assert daemon.cli("exec", "cold", "--", "echo address").stdout == b"address\n"
    assert time.monotonic() - began < 3


def test_the_end_waits_for_no_name(named, names, sshd, target):
    daemon = named(gone=target(sshd, host="gone.invalid"))
    daemon.leased()
    names.hang("users")
    names.hang("gone.invalid")
    asking = [daemon.cli_start("status"), daemon.cli_start("exec", "gone", "--", "true")]
    until(lambda: daemon.connections("gone")["dialing"] == 1 if daemon.process.poll() is None else False, "it is looked up",
          timeout=30)
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 5
    for one in asking:
        one.communicate(timeout=20)
