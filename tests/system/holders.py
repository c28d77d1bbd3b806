# SPDX-License-Identifier: MIT
"""Clients in processes of their own, to be killed."""

import os
import subprocess
import sys

from daemon import read_line

HOLDER = os.path.join(os.path.dirname(__file__), "holder.py")

# Says the number of a process that has left session and process group by then, and ignores SIGHUP.
LEAVE = "setsid nohup sh -c 'echo $$; exec sleep 303 >/dev/null 2>&1 </dev/null' 2>/dev/null </dev/null & "


class Holder:
    """A client in a process of its own, to be killed: it leases, runs `command` if given, and says what came of it."""

    def __init__(self, daemon, target, command=None):
        self.process = subprocess.Popen([sys.executable, HOLDER, daemon.path, target] + ([command] if command else []),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def line(self):
        return read_line(self.process.stdout).strip()

    def kill(self):
        self.process.kill()
        self.process.communicate()
