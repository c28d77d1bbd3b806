# SPDX-License-Identifier: MIT
"""OpenSSH's sshd: this system's, and those of newer Debians. As it comes from its authors, without AcceptEnv; and with
the line that Debian adds."""

import os
import subprocess

from sshd import BINARY, gives_terminals

from servers.base import Server, package_version, unpack


class OpenSsh(Server):
    as_account = False
    findable = True
    rekeys = True

    def __init__(self, name, accept_env, suite=None, short=False):
        self.name, self.accept_env, self.suite, self.short = name, accept_env, suite, short
        self.terminals = gives_terminals()
        if not self.terminals:
            self.without = {"terminal": "an sshd without root gives no terminals here"}

    def install(self, zoo):
        if self.suite:
            unpack(zoo, self.suite, "openssh-server", "openssh-client", "openssh-sftp-server")

    def _program(self, zoo, name):
        return os.path.join(zoo.store, self.suite, "bin", name)

    def version(self, zoo):
        if not self.suite:
            return package_version("openssh-server")
        done = subprocess.run([self._program(zoo, "sshd"), "-V"], capture_output=True, text=True, check=False)
        return done.stderr.partition(",")[0].strip()

    def words(self, zoo, port, directory, host_key, rekey):
        lines = [
            f"ListenAddress 127.0.0.1:{port}", "PidFile none", "StrictModes no", "UsePAM no", "UseDNS no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", f"HostKey {zoo.keys.host_of[host_key]}",
            f"AuthorizedKeysFile {zoo.keys.authorized_file}", f"AllowUsers {self.user(zoo)}",
            "Subsystem sftp internal-sftp", "PrintMotd no", "PrintLastLog no", "LogLevel VERBOSE",
            # As in the system tests: bash reads no .bashrc of the machine's.
            "SetEnv SHLVL=2",
        ]
        if self.accept_env:
            lines.append("AcceptEnv LANG LC_*")
        if rekey:
            lines.append("RekeyLimit 1M")
        program = BINARY
        if self.suite:
            # Newer ones are three programs; each needs the loader and the libraries of its suite.
            program = self._program(zoo, "sshd")
            lines += [f"SshdSessionPath {self._program(zoo, 'sshd-session')}",
                      f"SshdAuthPath {self._program(zoo, 'sshd-auth')}"]
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        config = os.path.join(directory, "sshd_config")
        with open(config, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        return [program, "-D", "-e", "-f", config]


SERVERS = [
    OpenSsh("openssh", False, short=True),
    OpenSsh("openssh-acceptenv", True),
    OpenSsh("openssh-trixie", False, "trixie"),
    OpenSsh("openssh-trixie-acceptenv", True, "trixie"),
    OpenSsh("openssh-sid", False, "sid"),
    OpenSsh("openssh-sid-acceptenv", True, "sid"),
]
