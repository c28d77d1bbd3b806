# SPDX-License-Identifier: MIT
"""TinySSH: ed25519 only, run from inetd, one session for each connection, which it closes after it."""

import os
import shutil
import subprocess
import sys

import zoo as zoo_module

from servers.base import Server, package_version, unpack


class TinySsh(Server):
    as_account = False
    keys_at_home = True
    host_keys = ("ed25519",)
    client_keys = ("ed25519",)

    def __init__(self, name, suite=None):
        self.name, self.suite = name, suite

    def install(self, zoo):
        if shutil.which("tinysshd") is None:
            raise zoo_module.Absent("tinysshd is not installed")
        if self.suite:
            unpack(zoo, self.suite, "tinysshd")

    def version(self, zoo):
        if not self.suite:
            return package_version("tinysshd")
        with open(os.path.join(zoo.store, self.suite, "root/usr/share/doc/tinysshd/changelog.Debian.gz"), "rb") as f:
            text = subprocess.run(["gzip", "-dc"], stdin=f, capture_output=True, check=False).stdout
        return text.split(b")")[0].rpartition(b"(")[2].decode()

    def words(self, zoo, port, directory, host_key, rekey):
        keys = os.path.join(directory, "keys")
        if not os.path.exists(keys):
            subprocess.run(["tinysshd-makekey", keys], check=True, capture_output=True)
        program = os.path.join(zoo.store, self.suite, "bin", "tinysshd") if self.suite else shutil.which("tinysshd")
        return [sys.executable, os.path.join(zoo_module.PROGRAMS, "tcpserver.py"), str(port), program, "-v",
                "-x", "sftp=/usr/lib/openssh/sftp-server", keys]

    def public_key(self, zoo, directory, host_key):
        done = subprocess.run(["tinysshd-printkey", os.path.join(directory, "keys")], check=True, capture_output=True,
                              text=True)
        return next(line for line in done.stdout.splitlines() if line.startswith("ssh-ed25519 "))


SERVERS = [TinySsh("tinyssh"), TinySsh("tinyssh-sid", "sid")]
