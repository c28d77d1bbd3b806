# SPDX-License-Identifier: MIT
"""ssh and the programs that run it, leasing from a daemon's pools: the configuration is what `sshlease ssh-config` prints.
$SSHLEASE_TEST_SSH names another ssh than Debian's; scp and sftp are then taken from beside it where they are there."""

import contextlib
import fcntl
import os
import shutil
import subprocess

import procs
from terminal import Terminal
from waiting import until

SSH = os.environ.get("SSHLEASE_TEST_SSH", shutil.which("ssh") or "ssh")


def program(name):
    """ssh, or what belongs to it."""
    if name == "ssh":
        return SSH
    beside = os.path.join(os.path.dirname(SSH), name)
    return beside if os.access(beside, os.X_OK) else name


class Tools:
    """`directory`: of its own, short-lived. The daemon has `mux` and its targets by now."""

    def __init__(self, daemon, directory):
        self.daemon, self.dir = daemon, directory
        self.config = os.path.join(directory, "ssh_config")
        self.write_config()

    def write_config(self, *targets, more=""):
        done = self.daemon.cli("ssh-config", *targets)
        assert done.returncode == 0, done.stderr
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(done.stdout.decode() + more)

    def env(self, **more):
        theirs = ("SSH", "XDG_", "GIT_", "ANSIBLE_", "LC_", "TMUX")
        env = {k: v for k, v in os.environ.items() if not k.startswith(theirs)}
        git = {"GIT_SSH_COMMAND": f"{SSH} -F {self.config}", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "t",
               "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}
        return {**env, "HOME": self.dir, "LANG": "C.UTF-8", **git, **more}

    def words(self, name, *args):
        """The command line of `ssh ARGS`, `scp ARGS` …, with our configuration."""
        ours = {"ssh": ["-F", self.config], "scp": ["-S", SSH, "-F", self.config], "sftp": ["-S", SSH, "-F", self.config],
                "rsync": ["-e", f"{SSH} -F {self.config}"]}
        return [program(name), *ours.get(name, []), *map(str, args)]

    def run(self, name, *args, data=b"", timeout=60.0, **options):
        """Runs it to its end: returncode, stdout, stderr (bytes)."""
        return subprocess.run(self.words(name, *args), input=data, capture_output=True, timeout=timeout, env=self.env(),
                              check=False, cwd=self.dir, **options)

    def good(self, name, *args, **options):
        """The same; it has to succeed. Its standard output."""
        done = self.run(name, *args, **options)
        assert done.returncode == 0, (done.args, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def start(self, name, *args, **options):
        """Starts it, with pipes unless said otherwise, in a process group of its own."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(procs.interruptible(self.words(name, *args)), env=self.env(), cwd=self.dir,
                                start_new_session=True, **pipes)

    def await_leases(self, count, state="granted", timeout=20.0):
        """Until so many leases are in that state; answers them."""
        found = []

        def fits():
            found[:] = [lease for lease in self.daemon.status()["leases"] if lease["state"] == state]
            return len(found) == count
        until(fits, lambda: f"{count} leases {state}, but they are {found}", timeout, interval=0.02)
        return found


def plain_words(server, keys, directory, *args):
    """An ssh that logs in by itself, to compare with: its command line. "t" is the server."""
    config = os.path.join(directory, "plain_config")
    with open(config, "w", encoding="utf-8") as f:
        f.write(f"Host t\n HostName 127.0.0.1\n Port {server.port}\n User {server.user}\n IdentityFile {keys.ed25519}\n"
                " IdentitiesOnly yes\n UserKnownHostsFile /dev/null\n StrictHostKeyChecking no\n LogLevel ERROR\n")
    return [SSH, "-F", config, *map(str, args)]


def ssh_of(pid):
    """The ssh that a tool has started."""
    return until(lambda: [p for p in procs.descendants(pid) if " -F " in procs.cmdline(p)], "its ssh")[0]


def flags(fd):
    return fcntl.fcntl(fd, fcntl.F_GETFL)


def other_user(tools, account):
    """Words that make a command the account's; it can read what ssh needs."""
    os.chmod(tools.dir, 0o755)
    os.chmod(tools.config, 0o644)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


@contextlib.contextmanager
def on_terminal(tools, *args, words=(), **more):
    terminal = Terminal([*words, *tools.words("ssh", *args)], tools.env(**more))
    try:
        yield terminal
    finally:
        terminal.close()
