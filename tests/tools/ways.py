# SPDX-License-Identifier: MIT
"""The three ways to a server: plain ssh, a real ControlMaster, and sshleased. A row's script says `ssh t`, `rsync … t:` in
each of them; which way it goes is decided by the ssh_config that the programs in front of $PATH give to ssh, scp and sftp."""

import os
import shutil
import subprocess

import here  # first: it knows where the modules of the system tests are
import procs
import ssh_tools
from daemon import Daemon
from sshd import send
from waiting import NotInTime, until

MARK = "SSHLEASE_TOOLS_RUN"
# What a tool calls, and what it gets: scp and sftp would start the system's ssh by its path.
WRAPPERS = {"ssh": '-F "$SSHLEASE_TOOLS_CONFIG"', "scp": '-S "$SSHLEASE_TOOLS_BIN/ssh"', "sftp": '-S "$SSHLEASE_TOOLS_BIN/ssh"'}


def write(path, text, mode=0o644):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def write_wrappers(directory):
    os.mkdir(directory)
    for name, more in WRAPPERS.items():
        write(os.path.join(directory, name), f'#!/bin/sh\nexec {shutil.which(ssh_tools.program(name))} {more} "$@"\n', 0o755)


def send_signal_to_run(mark, number):
    """Signals what a row has started and left, here and on the far side as far as the variable went with it."""
    wanted = mark.encode()
    send([pid for pid in procs.every() if procs.environ(pid).get(MARK.encode()) == wanted], number)


class Way:
    """`name` in the table. Hosts are those of `Servers`."""
    name = "ssh"

    def __init__(self, place, servers):
        self.place, self.servers = place, servers
        self.config = os.path.join(place.dir, f"ssh_config.{self.name}")
        write(self.config, self.head() + servers.behind() + servers.common())

    def head(self):
        """What comes before the hosts' own lines."""
        return ""

    def ansible(self):
        """Lines of ansible.cfg's section ssh_connection."""
        return "[ssh_connection]\nssh_args = -o ControlMaster=no\n"

    def env(self):
        return {"SSHLEASE_TOOLS_CONFIG": self.config}

    def warm(self, hosts):
        """Each of the hosts has answered once, so that a row is not about the first login."""

    def rest(self, hosts):
        """After a row: nothing of it may be left. None, or what is left that must not be."""

    def close(self):
        pass

    def ssh(self, *args):
        return subprocess.run([ssh_tools.SSH, "-F", self.config, *args], env=self.place.env(self), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=30, check=False)

    def _warm(self, hosts):
        for host in hosts:
            done = self.ssh(host, "true")
            if done.returncode != 0:
                raise here.Unusable(f"{self.name}: no command ran on {host}: {done.stderr.decode(errors='replace')}")


class Master(Way):
    name = "master"

    def head(self):
        return (f"Host {' '.join(self.servers.names())}\n ControlMaster auto\n ControlPersist 10m\n"
                f" ControlPath {self.place.dir}/master.%n\n")

    def ansible(self):
        return "[ssh_connection]\nssh_args = -o ControlMaster=auto -o ControlPersist=60s\n"

    def warm(self, hosts):
        self._warm(hosts)

    def rest(self, hosts):
        for host in hosts:
            self.ssh("-O", "exit", host)

    def close(self):
        self.rest(self.servers.names())


class Ours(Way):
    name = "sshlease"

    def __init__(self, place, servers, settings):
        targets = {name: {**servers.target(name), "permit_remote_open": "any", **settings} for name in servers.names()}
        self.daemon = Daemon({"mux": {"directory": os.path.join(place.dir, "mux")}, "targets": targets}, start=False)
        self.daemon.start()
        super().__init__(place, servers)

    def head(self):
        done = self.daemon.cli("ssh-config")
        if done.returncode != 0:
            raise here.Unusable(f"sshlease ssh-config: {done.stderr.decode()}")
        return done.stdout.decode()

    def ansible(self):
        return self.daemon.cli("ssh-config", "--ansible").stdout.decode()

    def warm(self, hosts):
        self._warm(hosts)

    def granted(self):
        """How many leases there have been: a row that took none went round us."""
        return sum(self.daemon.status()["counters"]["leases_granted"].values())

    def rest(self, hosts):
        """What is not over yet by the lease's own means has ten seconds; forwards without an ssh are ended here."""
        for host in hosts:
            self.ssh("-O", "exit", host)
        left = []

        def none():
            left[:] = [f"{lease['target']} {lease['state']} {lease['label']}" for lease in self.daemon.status()["leases"]]
            return not left
        try:
            until(none, "no lease left", 10)
        except NotInTime:
            return f"leases are left: {'; '.join(left)}"
        if self.daemon.process.poll() is not None:
            raise here.Unusable(f"sshleased ended with {self.daemon.process.returncode}")
        return None

    def log(self, mark):
        return self.daemon.log.lines[mark:][-30:]

    def close(self):
        self.daemon.stop()
