# SPDX-License-Identifier: MIT
"""Servers that programs make with a library: asyncssh, paramiko, Go's x/crypto/ssh, npm's ssh2. Each as its own
documentation has it, in programs/."""

import importlib.util
import json
import os
import shutil
import subprocess

import zoo as zoo_module

from servers.base import Server, package_version

PYTHON = "/usr/bin/python3"  # Debian's, which has the libraries
MIB = 1 << 20


def program(name):
    return os.path.join(zoo_module.PROGRAMS, name)


class AsyncSsh(Server):
    name = "asyncssh"
    short = True
    findable = True
    without = {"killed-detached": "it ends the connection on a channel's signal: nothing can be looked for on it then"}
    rekeys = True
    terminals = False  # its redirect() joins with pipes

    def install(self, zoo):
        if importlib.util.find_spec("asyncssh") is None:
            raise zoo_module.Absent("python3-asyncssh is not installed")

    def version(self, zoo):
        return package_version("python3-asyncssh")

    def words(self, zoo, port, directory, host_key, rekey):
        return [PYTHON, program("asyncssh_server.py"), "--port", str(port), "--host-key", zoo.keys.host_of[host_key],
                "--authorized-keys", zoo.keys.authorized_file, *(["--rekey", str(MIB)] if rekey else [])]


class Paramiko(Server):
    """Also the base of the devices, which are the same program with its quirks."""
    name = "paramiko"
    short = True
    rekeys = True
    quirks = ()

    def install(self, zoo):
        if importlib.util.find_spec("paramiko") is None:
            raise zoo_module.Absent("python3-paramiko is not installed")

    def version(self, zoo):
        return package_version("python3-paramiko")

    def words(self, zoo, port, directory, host_key, rekey):
        words = [PYTHON, program("device.py"), "--port", str(port), "--host-key", zoo.keys.host_of[host_key],
                 "--authorized-keys", zoo.keys.authorized_file]
        if self.password:
            words += ["--password", self.password]
        if rekey:
            words += ["--rekey", str(MIB)]
        for quirk in self.quirks:
            words += ["--quirk", quirk]
        return words


class Go(Server):
    name = "go"
    findable = True
    rekeys = True
    terminals = False

    def install(self, zoo):
        if shutil.which("go") is None:
            raise zoo_module.Absent("golang-go is not installed")
        os.makedirs(zoo.store, exist_ok=True)
        env = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "",
               "GOCACHE": os.path.join(zoo.store, "go-cache")}
        done = subprocess.run(["go", "build", "-o", self._program(zoo), program("go/server.go")], env=env,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise zoo_module.Absent("Go's server cannot be built: " + " ".join(done.stderr.split())[-300:])

    @staticmethod
    def _program(zoo):
        return os.path.join(zoo.store, "go-server")

    def version(self, zoo):
        return f"x/crypto {package_version('golang-golang-x-crypto-dev')}"

    def words(self, zoo, port, directory, host_key, rekey):
        return [self._program(zoo), str(port), zoo.keys.host_of[host_key], zoo.keys.authorized_file,
                str(MIB if rekey else 0)]


class Ssh2(Server):
    name = "npm-ssh2"
    findable = True
    terminals = False

    def install(self, zoo):
        if shutil.which("npm") is None:
            raise zoo_module.Absent("npm is not installed")
        if os.path.exists(os.path.join(self._module(zoo), "package.json")):
            return
        directory = os.path.join(zoo.store, "npm")
        os.makedirs(directory, exist_ok=True)
        # Without scripts: what they would compile is an option of ssh2's.
        done = subprocess.run(["npm", "install", "--prefix", directory, "--no-audit", "--no-fund", "--ignore-scripts", "ssh2"],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise zoo_module.Absent("npm has no ssh2: " + " ".join(done.stderr.split())[-300:])

    @staticmethod
    def _module(zoo):
        return os.path.join(zoo.store, "npm", "node_modules", "ssh2")

    def env(self, zoo):
        return {"SSH2_MODULE": self._module(zoo)}

    def version(self, zoo):
        with open(os.path.join(self._module(zoo), "package.json"), encoding="utf-8") as f:
            return json.load(f)["version"]

    def words(self, zoo, port, directory, host_key, rekey):
        return [shutil.which("node"), program("ssh2_server.js"), str(port), zoo.keys.host_of[host_key],
                zoo.keys.authorized_file]


SERVERS = [AsyncSsh(), Paramiko(), Go(), Ssh2()]
