# SPDX-License-Identifier: MIT
"""A private sshd on a free port of 127.0.0.1, with keys and configuration of its own."""

import contextlib
import functools
import grp
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import procs
from logs import Log
from waiting import NotInTime, until

BINARY = "/usr/sbin/sshd"


class Keys:
    """Throw-away user keys, host keys and a certificate authority, made once per test process."""

    PASSPHRASE = "correct horse battery"

    def __init__(self, directory):
        self.dir = directory
        self.ed25519 = self._make("id_ed25519", "ed25519")
        self.stranger = self._make("id_stranger", "ed25519")  # no server knows it
        self.host = self._make("host_ed25519", "ed25519")
        self.other_host = self._make("host_other", "ed25519")
        self.host_ecdsa = self._make("host_ecdsa", "ecdsa")

    def _make(self, name, kind, bits=None, passphrase=""):
        path = os.path.join(self.dir, name)
        if not os.path.exists(path):
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", name, "-f", path]
                           + (["-b", str(bits)] if bits else []), check=True)
        return path

    @functools.cached_property
    def host_rsa(self):
        return self._make("host_rsa", "rsa", 2048)

    @functools.cached_property
    def ecdsa(self):
        return self._make("id_ecdsa", "ecdsa")

    @functools.cached_property
    def rsa(self):
        return self._make("id_rsa", "rsa", 2048)

    @functools.cached_property
    def encrypted(self):
        return self._make("id_encrypted", "ed25519", passphrase=self.PASSPHRASE)

    @functools.cached_property
    def authority(self):
        return self._make("ca", "ed25519")

    def certificate(self, kind, principal):
        """A key of `kind` with FILE-cert.pub beside it; the bare key is in no authorized_keys."""
        key = self._make(f"id_cert_{kind}", kind, 2048 if kind == "rsa" else None)
        subprocess.run(["ssh-keygen", "-q", "-s", self.authority, "-I", "test", "-n", principal, f"{key}.pub"],
                       check=True)
        return key

    @staticmethod
    def public(path):
        with open(f"{path}.pub", encoding="ascii") as f:
            return f.read().strip()

    def authorized(self):
        return [self.public(k) for k in (self.ed25519, self.ecdsa, self.rsa, self.encrypted)]


def send(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@functools.cache
def supports(option):
    """Whether this sshd knows a line of configuration."""
    with tempfile.TemporaryDirectory() as d:
        key = os.path.join(d, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        config = os.path.join(d, "config")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"HostKey {key}\n{option}\n")
        return subprocess.run([BINARY, "-t", "-f", config], stderr=subprocess.DEVNULL, check=False).returncode == 0


@functools.cache
def gives_terminals():
    """An sshd without root cannot hand a terminal to the group tty; where they do not come with it, it gives up."""
    if os.geteuid() == 0:
        return True
    ours, theirs = os.openpty()
    try:
        return grp.getgrgid(os.fstat(theirs).st_gid).gr_name == "tty"
    finally:
        os.close(ours)
        os.close(theirs)


class Sshd:
    """Runs until stop(). `options` are lines of sshd_config that come before ours, so that they win. `accept_env` is Debian's
    own AcceptEnv; upstream's default is none."""

    def __init__(self, keys, account, options=(), host_keys=None, root=False, port=None, accept_env="LANG LC_*"):
        self.keys = keys
        self.user = "root" if root else account.pw_name
        self.host = "127.0.0.1"
        self.host_keys = host_keys or [keys.host]
        # sshd reads authorized_keys as the account it logs in, so this directory is open to it.
        self.dir = tempfile.mkdtemp(prefix="sshlease-sshd.")
        os.chmod(self.dir, 0o755)
        self.options = list(options) + ([f"AcceptEnv {accept_env}"] if accept_env else [])
        self.process = None
        self.port = port
        self.log = None
        self.authorized_keys = os.path.join(self.dir, "authorized_keys")
        with open(self.authorized_keys, "w", encoding="ascii") as f:
            f.write("\n".join(keys.authorized()) + "\n")
        os.chmod(self.authorized_keys, 0o644)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.start()

    def _write_config(self):
        lines = self.options + [
            f"ListenAddress {self.host}:{self.port}", "PidFile none", "StrictModes no", "UsePAM no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            f"AuthorizedKeysFile {self.authorized_keys}",
            f"AllowUsers {self.user}", "PermitRootLogin prohibit-password",
            "Subsystem sftp internal-sftp", "MaxStartups 1000", "LogLevel VERBOSE", "UseDNS no", "PrintMotd no",
            "PrintLastLog no",
            # bash reads no .bashrc below the first level: what a machine's own does takes its time, and leaves its locks
            # behind when it is killed.
            "SetEnv SHLVL=2",
        ]
        lines += [f"HostKey {k}" for k in self.host_keys]
        if supports("PerSourcePenalties no"):
            lines.append("PerSourcePenalties no")
        path = os.path.join(self.dir, "sshd_config")
        with open(path, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        return path

    def start(self):
        """Starts it (again), on the same port where it had one."""
        fixed = self.port is not None
        for _ in range(20):
            if not fixed:
                self.port = free_port()
            self.process = subprocess.Popen([BINARY, "-D", "-e", "-f", self._write_config()], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
            self.log = Log(self.process.stderr, os.path.join(self.dir, "log"))
            try:
                self.log.find(r"^Server listening on ")
                return
            except NotInTime:
                # Somebody else was quicker to take the port.
                self.process.kill()
                self.process.wait()
                if not self.log.matches("Address already in use|Cannot bind"):
                    raise
        raise AssertionError("found no free port for sshd")

    def sessions(self):
        """The processes that serve connections: children of the listener."""
        return [p for p in procs.descendants(self.process.pid) if procs.cmdline(p).startswith(("sshd", BINARY))]

    def remote(self):
        """Processes that were started over it and still live."""
        return procs.of_ssh_port(self.port)

    def await_nothing_remote(self, timeout=15.0):
        until(lambda: not self.remote(), lambda: "nothing left on the far side; there is "
              + "; ".join(f"{p}: {procs.cmdline(p)}" for p in self.remote()), timeout)

    def connections(self):
        """Connections to it that are established now, as the kernel sees them: all at the moment between two looks, for
        the kernel's list is no snapshot, and one look can hold a connection and the one that came in its place."""
        return len(self._established() & self._established())

    def _established(self):
        tail = f":{self.port:04X}"
        with open("/proc/net/tcp", encoding="ascii") as f:
            lines = [line.split() for line in f]
        return {(fields[1], fields[2]) for fields in lines if fields[1].endswith(tail) and fields[3] == "01"}

    def known_hosts_line(self, name=None, key=None, marker=""):
        kind, blob = Keys.public(key or self.host_keys[0]).split()[:2]
        return f"{marker}{name or f'[{self.host}]:{self.port}'} {kind} {blob}\n"

    def signal_sessions(self, number):
        send(self.sessions(), number)

    def kill(self):
        """The server dies: the listener and everything that serves a connection, at once."""
        # Stopped first, so that none forks another while we look.
        stopped = set()
        while new := {self.process.pid, *procs.descendants(self.process.pid)} - stopped:
            send(new, signal.SIGSTOP)
            stopped |= new
        send(stopped, signal.SIGKILL)
        self.process.wait()
        self.log.join()

    def kill_remote(self):
        """Ends what was started over it: what a test has left on purpose."""
        def none_left():
            send(self.remote(), signal.SIGKILL)
            return not self.remote() and self.connections() == 0
        until(none_left, "nothing left on the far side")

    def stop(self):
        if self.process.poll() is None:
            self.kill()
        send(self.remote(), signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


def fingerprint(path):
    out = subprocess.run(["ssh-keygen", "-l", "-f", f"{path}.pub"], check=True, capture_output=True, text=True).stdout
    return re.search(r"SHA256:\S+", out)[0]
