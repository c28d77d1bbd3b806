# SPDX-License-Identifier: MIT
"""Runs sshleased and sshlease from a build, on a temporary socket and configuration."""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import procs
from logs import SANITIZER, Log
from native import Client
from waiting import NotInTime, until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def build():
    """$SSHLEASE_BUILD, else the build that is there."""
    if "SSHLEASE_BUILD" in os.environ:
        return os.path.abspath(os.environ["SSHLEASE_BUILD"])
    for name in ("build", "build-dev", "build-asan"):
        if os.path.exists(os.path.join(ROOT, name, "bin", "sshleased")):
            return os.path.join(ROOT, name)
    raise RuntimeError("no build with a bin/sshleased in it: set SSHLEASE_BUILD")


def program(name):
    return os.path.join(build(), "bin", name)


def is_sanitized():
    with open(program("sshleased"), "rb") as f:
        return re.search(rb"__(asan|tsan)_init", f.read()) is not None


def libssh2_is_ours():
    """Whether the daemon was built with the mended one of scripts/setup, not with the system's."""
    done = subprocess.run([program("sshleased"), "--version"], capture_output=True, text=True, check=True)
    return "(system)" not in done.stdout


def sanitizer_env():
    return {
        # A small quarantine, so that memory which was freed does not look like memory in use.
        "ASAN_OPTIONS": "exitcode=99:detect_leaks=1:quarantine_size_mb=1:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "TSAN_OPTIONS": "exitcode=99",
    }


class Daemon:
    """One sshleased. `config` is the configuration as a dict; `listen` is filled in. `user`: run it as that account in
    its one-user mode. `wrap`, set before the start: words before the command line; `fds`: descriptors that it gets."""

    def __init__(self, config=None, user=None, args=(), env=None, start=True, use_config=True):
        self.dir = tempfile.mkdtemp(prefix="sshlease-test.")
        os.chmod(self.dir, 0o755)
        self.user = user
        if user is not None:
            os.chown(self.dir, user.pw_uid, user.pw_gid)
        self.path = os.path.join(self.dir, "s.sock")
        self.config_file = os.path.join(self.dir, "config.yaml")
        self.use_config = use_config
        self.args, self.env = list(args), dict(env or {})
        self.wrap, self.fds = [], ()
        self.process = self.log = None
        self.started = 0
        self.sane_end = True
        self.config = {}
        self.clients = []
        self.write_config(config or {})
        if start:
            self.start()

    def write_config(self, config):
        """Every JSON text is YAML. Leases in use when a test is over must not hold up the daemon's end."""
        self.config = {"listen": {"path": self.path, "mode": "0666"}, **config}
        self.config["limits"] = {"shutdown_drain": "200ms", **config.get("limits", {})}
        self.write_config_text(json.dumps(self.config, indent=1))

    def write_config_text(self, text):
        with open(f"{self.config_file}.new", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(f"{self.config_file}.new", 0o644)
        os.rename(f"{self.config_file}.new", self.config_file)

    def command(self):
        words = [program("sshleased")]
        if self.use_config:
            words += ["--config", self.config_file]
        words = [*self.wrap, *words, *self.args]
        if self.user is not None and os.geteuid() != self.user.pw_uid:
            words = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups", *words]
        return words

    def environment(self):
        ours = ("SSHLEASE_", "XDG_", "SSH_", "NOTIFY_", "LISTEN_")
        env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        env.update(sanitizer_env())
        if self.user is not None:
            env.update(HOME=self.user.pw_dir, USER=self.user.pw_name, LOGNAME=self.user.pw_name)
        env.update(self.env)
        return env

    def spawn(self):
        """Starts it without waiting for anything."""
        self.started += 1
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=self.environment(), cwd="/", pass_fds=self.fds)
        self.log = Log(self.process.stderr, os.path.join(self.dir, f"log.{self.started}"))

    def start(self, timeout=20.0):
        """Starts it and waits until it says over sd_notify's socket, as to systemd, that it is ready."""
        notify = os.path.join(self.dir, f"notify.{self.started}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(notify)
            os.chmod(notify, 0o777)
            s.settimeout(0.05)
            self.env["NOTIFY_SOCKET"] = notify
            self.spawn()
            del self.env["NOTIFY_SOCKET"]

            def ready():
                if self.process.poll() is not None:
                    self.log.join()
                    raise NotInTime(f"sshleased ended with {self.process.returncode} before it was ready:\n"
                                    + "\n".join(self.log.lines[-60:]))
                with contextlib.suppress(TimeoutError):
                    return b"READY=1" in s.recv(4096)
                # A build without libsystemd says nothing; then a socket that answers will do.
                if not HAVE_NOTIFY():
                    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(self.path)
                        return True
                return False
            until(ready, lambda: "sshleased ready:\n" + "\n".join(self.log.lines[-60:]), timeout, interval=0)
        return self

    @property
    def pid(self):
        return self.process.pid

    def client(self, **options):
        """A native client; closed when the test is over."""
        client = Client(self.path, **options)
        self.clients.append(client)
        return client

    def leased(self, target="t", **options):
        """A native client that holds a lease."""
        client = self.client()
        client.acquire(target, **options)
        return client

    def status(self):
        with Client(self.path) as client:
            return json.loads(client.status())

    def target(self, name="t"):
        return next(t for t in self.status()["targets"] if t["name"] == name)

    def connections(self, name="t"):
        """{"dialing": 0, "idle": 1, …} of one target."""
        return self.target(name)["connections"]

    def await_connections(self, name="t", timeout=20.0, **counts):
        """Until the target's connections are so many in those states."""
        last = {}

        def fits():
            last.update(self.connections(name))
            return all(last[k] == v for k, v in counts.items())
        until(fits, lambda: f"{counts} at target {name}, but it is {last}", timeout, interval=0.02)

    def signal(self, number):
        self.process.send_signal(number)

    def await_exit(self, timeout=20.0):
        """Its exit code, after which its log is complete."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            tail = "\n".join(self.log.lines[-40:])
            raise NotInTime(f"sshleased did not end in time; its log ends:\n{tail}") from None
        self.log.join()
        return code

    def kill(self):
        self.sane_end = False
        self.process.kill()
        self.process.wait()
        self.log.join()

    def stop(self):
        """Ends it in good order and insists that it was one."""
        for client in self.clients:
            client.close()
        try:
            if self.process is not None:
                if self.process.poll() is None:
                    self.process.send_signal(signal.SIGCONT)
                    self.process.send_signal(signal.SIGTERM)
                try:
                    code = self.await_exit(30)
                except NotInTime:
                    self.kill()
                    raise
                self.log.assert_sane()
                assert not self.sane_end or code == 0, (
                    f"sshleased ended with {code}; its log ends:\n" + "\n".join(self.log.lines[-40:]))
                assert not self.sane_end or not os.path.exists(self.path), "the socket was left behind"
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    # --- the command line ---

    def cli_env(self, env=None):
        return {**self.environment(), "SSHLEASE_SOCKET": self.path, **(env or {})}

    def cli(self, *args, data=b"", timeout=60.0, env=None, user=None):
        """Runs `sshlease ARGS` to its end: an object with returncode, stdout, stderr (bytes)."""
        done = subprocess.run(as_user([program("sshlease"), *map(str, args)], user), input=data, capture_output=True,
                              timeout=timeout, env=self.cli_env(env), check=False)
        assert not SANITIZER.search(done.stderr.decode(errors="replace")), done.stderr.decode(errors="replace")
        return done

    def cli_start(self, *args, user=None, **options):
        """Starts `sshlease ARGS`, with pipes unless said otherwise. In a process group of its own."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(as_user([program("sshlease"), *map(str, args)], user), env=self.cli_env(),
                                start_new_session=True, **pipes)


def as_user(words, user):
    if user is None:
        return words
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *words]


def _have_notify():
    out = subprocess.run(["ldd", program("sshleased")], capture_output=True, text=True, check=False).stdout
    return "libsystemd" in out


HAVE_NOTIFY = functools.cache(_have_notify)


def read_line(stream):
    """One line of a child's unbuffered or buffered pipe."""
    line = stream.readline()
    assert line, "the pipe ended"
    return line.decode()


def fds_and_memory(daemon):
    return procs.fd_count(daemon.pid), procs.rss_bytes(daemon.pid)
