# SPDX-License-Identifier: MIT
"""Dropbear, the SSH server of routers and small images. It refuses variables, and signals only the shell."""

import os
import shutil
import subprocess

from zoo import Absent

from servers.base import Server, package_version, unpack


class Dropbear(Server):
    as_account = False
    keys_at_home = True
    findable = True

    def __init__(self, name, suite=None, short=False):
        self.name, self.suite, self.short = name, suite, short

    def install(self, zoo):
        if self.suite:
            unpack(zoo, self.suite, "openssh-server", "openssh-client", "openssh-sftp-server", "dropbear-bin")
        elif shutil.which("dropbear") is None:
            raise Absent("dropbear-bin is not installed")

    def _program(self, zoo, name):
        return os.path.join(zoo.store, self.suite, "bin", name) if self.suite else shutil.which(name)

    def version(self, zoo):
        if not self.suite:
            return package_version("dropbear-bin")
        done = subprocess.run([self._program(zoo, "dropbear"), "-V"], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    def words(self, zoo, port, directory, host_key, rekey):
        key = os.path.join(directory, f"dropbear_{host_key}")
        if not os.path.exists(key):
            subprocess.run([self._program(zoo, "dropbearconvert"), "openssh", "dropbear", zoo.keys.host_of[host_key], key],
                           check=True, capture_output=True)
        return [self._program(zoo, "dropbear"), "-F", "-E", "-s", "-r", key, "-p", f"127.0.0.1:{port}",
                "-P", os.path.join(directory, "pid")]


SERVERS = [Dropbear("dropbear", short=True), Dropbear("dropbear-sid", "sid")]
