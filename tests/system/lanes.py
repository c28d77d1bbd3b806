# SPDX-License-Identifier: MIT
"""The same tools by three ways: a plain ssh, a real ControlMaster, and our mux sockets. What the first two do is what a
tool expects of the third."""

import contextlib
import os
import subprocess

from ssh_tools import SSH, Tools, plain_words
from waiting import until

NAMES = ("ssh", "master", "us")


class Plain(Tools):
    """Each ssh logs in by itself."""
    name = "ssh"

    def __init__(self, server, keys, directory):
        self.server, self.keys = server, keys
        super().__init__(None, directory)

    def write_config(self, *targets, more=""):
        self.config = plain_words(self.server, self.keys, self.dir)[2]
        with open(self.config, "a", encoding="utf-8") as f:
            f.write(more)

    def await_all_over(self):
        """What was interrupted has ended."""
        self.server.await_nothing_remote()


class Master(Plain):
    """All of them over a master."""
    name = "master"

    def __init__(self, server, keys, directory):
        super().__init__(server, keys, directory)
        path = os.path.join(directory, "cm")
        self.process = subprocess.Popen([SSH, "-F", self.config, "-o", f"ControlPath={path}", "-M", "-N", "t"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(path), "the master's socket")
        # Whoever does not find it must not log in instead.
        with open(self.config, "a", encoding="utf-8") as f:
            f.write(f" ControlPath {path}\n ProxyCommand false\n")

    def close(self):
        self.process.terminate()
        self.process.wait()


class Us(Tools):
    name = "us"

    def __init__(self, tools):
        super().__init__(tools.daemon, tools.dir)

    def await_all_over(self):
        until(lambda: not self.daemon.status()["leases"], "no lease left")
        self.daemon.await_connections(draining=0, closing=0)


@contextlib.contextmanager
def make(name, make_tools, server, keys, target, directory, **settings):
    """The lane of that name; `settings` are the target's."""
    if name == "us":
        yield Us(make_tools({"t": target(server, permit_remote_open="any", **settings)}))
        return
    os.makedirs(directory, exist_ok=True)
    lane = (Plain if name == "ssh" else Master)(server, keys, str(directory))
    try:
        yield lane
    finally:
        if name == "master":
            lane.close()
