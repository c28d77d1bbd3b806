# SPDX-License-Identifier: MIT
"""What all servers of the zoo share: keys, the account they log in to, where things are installed; and a running server."""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAMS = os.path.join(HERE, "programs")
SYSTEM = os.path.join(ROOT, "tests", "system")
sys.path.insert(0, SYSTEM)

from account import LOCKS                             # noqa: E402
import procs                                          # noqa: E402
from daemon import as_user                            # noqa: E402
from logs import Log                                  # noqa: E402
from sshd import Keys, send                           # noqa: E402
from waiting import NotInTime, until                  # noqa: E402

HOST_KEYS = {"ed25519": ("ed25519", None), "rsa": ("rsa", 3072), "ecdsa256": ("ecdsa", 256), "ecdsa384": ("ecdsa", 384),
             "ecdsa521": ("ecdsa", 521)}


class Absent(Exception):
    """A server is not to be had here; the text says why."""


class ZooKeys(Keys):
    """Those of the system tests, and a host key of each kind that the servers' account may read."""

    def __init__(self, directory, account):
        super().__init__(directory)
        os.chmod(directory, 0o755)
        self.host_of = {name: self._make(f"host_{name}", *kind) for name, kind in HOST_KEYS.items()}
        for path in self.host_of.values():
            os.chown(path, account.pw_uid, account.pw_gid)
        self.user = {"ed25519": self.ed25519, "rsa": self.rsa, "ecdsa": self.ecdsa}
        self.authorized_file = os.path.join(directory, "authorized_keys")
        with open(self.authorized_file, "w", encoding="ascii") as f:
            f.writelines(f"{self.public(path)}\n" for path in self.user.values())
        os.chmod(self.authorized_file, 0o644)


class Zoo:
    """`account`: whom the servers log in; `short`: the short form is asked for."""

    def __init__(self, account, short):
        self.account, self.short = account, short
        self.dir = tempfile.mkdtemp(prefix="sshlease-zoo.")
        os.chmod(self.dir, 0o755)
        os.makedirs(os.path.join(self.dir, "keys"))
        self.keys = ZooKeys(os.path.join(self.dir, "keys"), account)
        # What is downloaded stays from run to run.
        self.store = os.path.join(ROOT, "build-interop")

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def directory(self, prefix):
        """A new one that belongs to the account."""
        path = tempfile.mkdtemp(prefix=f"{prefix}.", dir=self.dir)
        os.chmod(path, 0o755)
        os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    @contextlib.contextmanager
    def keys_at_home(self, whose):
        """The account's own authorized_keys has our keys meanwhile. Only where the account is one for tests. `whose`: a
        name, for several may need them there at once."""
        directory = os.path.join(self.account.pw_dir, ".ssh")
        path = os.path.join(directory, "authorized_keys")
        ours = [f"{self.keys.public(key)} {whose}.{os.getpid()}\n" for key in self.keys.user.values()]
        self._edit(directory, path, lambda lines: lines + ours)
        try:
            yield
        finally:
            self._edit(directory, path, lambda lines: [line for line in lines if line not in ours])

    def _edit(self, directory, path, change):
        with open(os.path.join(LOCKS, f"sshlease-zoo.{self.account.pw_name}.lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.makedirs(directory, mode=0o700, exist_ok=True)
            lines = []
            with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as f:
                lines = f.readlines()
            with open(f"{path}.new", "w", encoding="ascii") as f:
                f.writelines(change(lines))
            for one in (directory, f"{path}.new"):
                os.chown(one, self.account.pw_uid, self.account.pw_gid)
            os.chmod(f"{path}.new", 0o600)
            os.rename(f"{path}.new", path)


def free_port():
    """One that no outgoing connection takes while a server is restarted: below those that the kernel gives out."""
    while True:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", random.randrange(12000, 32000)))
            return s.getsockname()[1]


def listening(port):
    """Whether somebody listens on it, without a connection that the server would count."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        fields = [line.split() for line in f]
    return any(f[1].endswith(f":{port:04X}") and f[3] == "0A" for f in fields[1:])


class Instance:
    """A server that runs until stop(). `host_key`: its kind; `rekey`: it asks for new keys after each MiB."""

    def __init__(self, server, zoo, host_key=None, rekey=False):
        host_key = host_key or server.host_keys[0]
        self.server, self.zoo = server, zoo
        self.host, self.port = "127.0.0.1", None
        self.options = {"host_key": host_key, "rekey": rekey}
        self.dir = zoo.directory(server.name)
        self.process = self.log = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        """On the port it had, where it had one."""
        fixed = self.port is not None
        for _ in range(10):
            if not fixed:
                self.port = free_port()
            words = self.server.words(self.zoo, self.port, self.dir, **self.options)
            user = self.zoo.account if self.server.as_account and os.geteuid() == 0 else None
            env = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin", "LANG": "C.UTF-8",
                   "HOME": self.zoo.account.pw_dir, **self.server.env(self.zoo)}
            self.process = subprocess.Popen(as_user(words, user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, start_new_session=True, env=env, cwd="/")
            self.log = Log(self.process.stdout, os.path.join(self.dir, "log"))
            try:
                until(lambda: listening(self.port) or self.process.poll() is not None, f"{self.server.name} listens", 20)
            except NotInTime:
                self.kill()
                raise
            if self.process.poll() is None:
                return
            self.log.join()
            if not self.log.matches("(?i)address already in use|EADDRINUSE|cannot bind"):
                break
        raise Absent(f"{self.server.name} does not start: " + " | ".join(self.log.lines[-5:]))

    def kill(self):
        """It dies, and everything it has started, at once."""
        stopped = set()
        while new := {self.process.pid, *procs.descendants(self.process.pid)} - stopped:
            send(new, signal.SIGSTOP)
            stopped |= new
        send(stopped, signal.SIGKILL)
        self.process.wait()
        # Something detached may hold the pipe of the log open.
        self.log.join(1)

    def restart(self):
        self.kill()
        self.start()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def known_hosts_line(self):
        kind, blob = self.server.public_key(self.zoo, self.dir, self.options["host_key"]).split()[:2]
        return f"[{self.host}]:{self.port} {kind} {blob}\n"
