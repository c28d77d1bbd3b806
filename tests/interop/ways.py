# SPDX-License-Identifier: MIT
"""The ways to run something on a server: over sshlease, over its mux sockets, and by plain ssh, the standard."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import time

import zoo  # first: it knows where the modules of the system tests are
from daemon import Daemon, program
from logs import SANITIZER
from ssh_tools import Tools
from terminal import Terminal


class Broken(Exception):
    """A cell is not well. `kind` says what kind of thing is wrong, in a word; `share` how much of it, up to 1."""

    def __init__(self, kind, detail, share=1.0):
        super().__init__(detail)
        self.kind, self.detail, self.share = kind, " ".join(detail.split()), share


@dataclasses.dataclass
class Done:
    code: int
    out: bytes
    err: bytes
    seconds: float = 0.0

    def text(self):
        """What there is to say of one that went wrong."""
        said = self.err.decode(errors="replace").strip().splitlines()
        return f"status {self.code}" + (f", {' '.join(said[-2:])[:200]}" if said else f", output {self.out[:60]!r}")


class Way:
    """`patience`: seconds after which a command is too slow."""
    patience = 12.0

    def words(self, command, terminal=False, variables=()):
        """`variables`: NAME=VALUE each."""
        raise NotImplementedError

    def env(self):
        raise NotImplementedError

    def run(self, command, data=b"", patience=None, **options):
        """To its end; takes too long if it takes longer than `patience`."""
        return self.run_words(self.words(command), data, patience, **options)

    def run_words(self, words, data=b"", patience=None, **options):
        since = time.monotonic()
        process = self.start_words(words, **options)
        try:
            out, err = process.communicate(data if process.stdin else None, patience or self.patience)
        except subprocess.TimeoutExpired:
            raise Broken("slow", f"no end within {patience or self.patience:g} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        return Done(process.returncode, out, err, time.monotonic() - since)

    def start(self, command):
        return self.start_words(self.words(command))

    def start_words(self, words, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(words, env=self.env(), start_new_session=True, cwd="/", **pipes)

    @contextlib.contextmanager
    def terminal(self, command=None):
        """`command`, or a shell, on a terminal of 40 by 100."""
        shown = Terminal(self.words(command, terminal=True), self.env(), rows=40, cols=100)
        try:
            yield shown
        finally:
            shown.close()


class Leased(Way):
    """`sshlease exec`, with a daemon that has one target `t`."""

    def __init__(self, daemon):
        self.daemon = daemon

    def words(self, command, terminal=False, variables=()):
        if command is None:
            return [program("sshlease"), "shell", "t"]
        passed = [word for variable in variables for word in ("-e", variable)]
        return [program("sshlease"), "exec", *passed, *(["-t"] if terminal else []), "t", "--", command]

    def env(self):
        return self.daemon.cli_env()


class Muxed(Way):
    """ssh and its kin over the daemon's sockets."""
    destination = "t"

    def __init__(self, tools):
        self.tools, self.daemon = tools, tools.daemon

    def words(self, command, terminal=False, variables=()):
        passed = ["-o", f"SetEnv={' '.join(variables)}"] if variables else []
        return self.tool("ssh", *passed, *(["-tt"] if terminal else []), "t", *([] if command is None else [command]))

    def tool(self, name, *args):
        return self.tools.words(name, *args)

    def env(self):
        return self.tools.env()


class Plain(Way):
    """ssh with a connection of its own."""
    daemon = None

    def __init__(self, options, env):
        self.options, self._env = options, env
        self.destination = "zoo"

    def words(self, command, terminal=False, variables=()):
        passed = ["-o", f"SetEnv={' '.join(variables)}"] if variables else []
        return self.tool("ssh", *passed, *(["-tt"] if terminal else ["-T"]), "zoo", *([] if command is None else [command]))

    def tool(self, name, *args):
        return [name, *self.options, *args]

    def env(self):
        return self._env


class Bed:
    """Where one test of one server happens. `plain`: the test runs by plain ssh instead. Everything made here goes with it."""

    def __init__(self, the_zoo, server, instance, plain):
        self.zoo, self.server, self.instance, self.plain = the_zoo, server, instance, plain
        self.short = the_zoo.short
        self.dir = the_zoo.directory("bed")
        self.daemons = []
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def log(self):
        """The end of what the daemons said; a sanitizer's report, where there is one, from its beginning."""
        lines = [line for daemon in self.daemons if daemon.log for line in daemon.log.lines]
        at = next((i for i, line in enumerate(lines) if SANITIZER.search(line)), None)
        return lines[-30:] if at is None else lines[at:at + 60]

    def crash(self):
        """What there is to say of a daemon that has ended by itself, or None."""
        for daemon in self.daemons:
            code = daemon.process.poll() if daemon.process else None
            if code is not None:
                daemon.sane_end = False
                daemon.log.join()
                said = [line for line in daemon.log.lines if " notice " not in line and " info " not in line]
                return f"sshleased ended with {code}: {' '.join(said[:2])}"
        return None

    def __exit__(self, kind, error, trace):
        """A daemon that does not end well is told, unless something else is wrong already."""
        self.stack.close()
        problems = []
        for daemon in self.daemons:
            try:
                daemon.stop()
            except (AssertionError, OSError) as e:
                problems.append(str(e))
        shutil.rmtree(self.dir, ignore_errors=True)
        if problems and kind is None:
            raise Broken("daemon", problems[0])

    def other_instance(self, **options):
        """A server of the same kind, with another host key or other limits."""
        instance = zoo.Instance(self.server, self.zoo, **options)
        self.stack.callback(instance.stop)
        return instance

    def way(self, mux=False, identity="ed25519", instance=None, alive=None, **settings):
        """`identity`: the kind of key that the client has; `alive`: the liveness interval in seconds."""
        instance = instance or self.instance
        number = len(os.listdir(self.dir))
        known_hosts = os.path.join(self.dir, f"known_hosts.{number}")
        with open(known_hosts, "w", encoding="ascii") as f:
            f.write(instance.known_hosts_line())
        if self.plain:
            return self._plain(identity, instance, known_hosts, alive)
        target = {"host": instance.host, "port": instance.port, "user": self.server.user(self.zoo),
                  "user_known_hosts_file": known_hosts, "identity_file": self.zoo.keys.user[identity],
                  **({"server_alive_interval": f"{alive}s", "validate_after": f"{alive}s"} if alive else {}), **settings}
        if self.server.password:
            del target["identity_file"]
            target["password"] = {"file": self._password_file()}
        config = {"targets": {"t": target}}
        if mux:
            config["mux"] = {"directory": os.path.join(self.dir, f"mux.{number}")}
            # As the daemon insists: others must not be able to put sockets there.
            os.chown(self.dir, os.geteuid(), os.getegid())
        daemon = Daemon(config, start=False)
        self.daemons.append(daemon)
        daemon.start()
        if not mux:
            return Leased(daemon)
        tools = os.path.join(self.dir, f"tools.{number}")
        os.mkdir(tools)
        return Muxed(Tools(daemon, tools))

    def _password_file(self):
        path = os.path.join(self.dir, "password")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as f:
            f.write(self.server.password)
        return path

    def _plain(self, identity, instance, known_hosts, alive):
        settings = {"HostName": instance.host, "Port": instance.port, "User": self.server.user(self.zoo),
                    "UserKnownHostsFile": known_hosts, "GlobalKnownHostsFile": "none", "StrictHostKeyChecking": "yes",
                    "IdentitiesOnly": "yes", "IdentityAgent": "none", "LogLevel": "ERROR",
                    "NumberOfPasswordPrompts": 1, "ServerAliveInterval": alive or 0}
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SSH", "LC_"))}
        if self.server.password:
            ask = os.path.join(self.dir, "ask")
            with open(os.open(ask, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o700), "w", encoding="ascii") as f:
                f.write(f"#!/bin/sh\ncat '{self._password_file()}'\n")
            env.update(SSH_ASKPASS=ask, SSH_ASKPASS_REQUIRE="force")
            settings["IdentityFile"] = "none"
            settings["BatchMode"] = "no"  # said first, it is stronger than what sftp -b says
        else:
            settings["IdentityFile"] = self.zoo.keys.user[identity]
            settings["BatchMode"] = "yes"
        options = ["-F", "none"]
        for name, value in settings.items():
            options += ["-o", f"{name}={value}"]
        return Plain(options, env)
