# SPDX-License-Identifier: MIT
"""What the runner wants to know of a server; each module overrides what is different there."""

import os
import subprocess

import zoo as zoo_module


class Server:
    name = ""
    short = False               # part of the short form
    as_account = True           # the program runs as the account that it logs in
    keys_at_home = False        # it reads the account's own authorized_keys
    findable = False            # it takes variables, or sets an SSH_CONNECTION that is no other's: nothing may be left
    posix = True                # exec runs a POSIX shell
    terminals = True            # what asks for a terminal gets one
    sftp = True
    password = None             # the way to log in, where it is not a key
    rekeys = False              # can be told to ask for new keys early
    host_keys = tuple(zoo_module.HOST_KEYS)
    client_keys = ("ed25519", "rsa", "ecdsa")
    without = {}                # test -> why it makes no sense here
    only = None                 # these tests and no others, in the short form, too
    in_short = None             # of the short form's tests, these; None: all
    in_a_row = 20               # commands in the test of that name
    stderr_first = b""          # what it writes to standard error before any command
    endless = "wait 60"         # where exec is no POSIX shell: a command that writes a line and goes on
    both_streams = "echo out; echo err >&2"
    offers = ""                 # the algorithm that it insists on
    shell_types = ("echo wo''rd; exit 3\n", "word", 3)  # typed at a shell, shown then, its status

    def install(self, zoo):
        """Puts into zoo.store what it needs besides Debian packages; raises Absent."""

    def absent(self, zoo):
        """Why it cannot run here, or None."""
        if self.keys_at_home and os.geteuid() != 0:
            return "needs root: it reads the account's own authorized_keys, which would have to be changed"
        return None

    def version(self, zoo):
        return ""

    def user(self, zoo):
        return zoo.account.pw_name

    def env(self, zoo):
        return {}

    def words(self, zoo, port, directory, host_key, rekey):
        """The command line; runs in the foreground."""
        raise NotImplementedError

    def public_key(self, zoo, directory, host_key):
        return zoo.keys.public(zoo.keys.host_of[host_key])

    def command(self, word, status):
        """A command that writes a word and ends with a status."""
        return f"echo {word}; exit {status}"

    def status_of(self, status):
        """What that status is to a client."""
        return status


def package_version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def unpack(zoo, suite, *packages):
    """The packages of another suite of Debian, unpacked with what they need: the directory."""
    directory = os.path.join(zoo.store, suite)
    done = subprocess.run([os.path.join(zoo_module.HERE, "unpack-suite"), suite, directory, *packages],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise zoo_module.Absent(f"Debian's {suite} is not to be had: {' '.join(done.stderr.split())[-300:]}")
    return directory
