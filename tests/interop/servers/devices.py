# SPDX-License-Identifier: MIT
"""Devices: programs/device.py with a quirk each, which is said there. What has nothing to do with a quirk is tested at
`paramiko`, the same program without."""

from servers.libraries import Paramiko

# These have nothing to do with any quirk, but where a device says `also`.
ELSEWHERE = ("eof", "terminal", "idle", "restart", "rekey", "user-keys", "host-keys")
PASSWORD = "correct horse battery"
# paramiko has no way to wait until what was written has left.
CUT = {"bulk": "it may hang up on the end of its own output"}
# In the short form: the rest of a device is paramiko, which is tested there itself.
IN_SHORT = ("row", "at-once", "variables", "terminal", "refusal", "logins")


class Device(Paramiko):
    def __init__(self, *quirks, password=None, without=None, also=(), only=None, **more):
        self.name = f"device-{quirks[0]}"
        self.quirks, self.password, self.only = quirks, password, only
        for key, value in more.items():
            setattr(self, key, value)
        elsewhere = {test: "as at paramiko" for test in ELSEWHERE if test not in also}
        if not self.findable:
            elsewhere["killed-detached"] = "as at paramiko"
        self.without = {**elsewhere, **(without or {})}
        self.in_short = IN_SHORT + (("killed-detached",) if self.findable else ())

    def version(self, zoo):
        return f"paramiko {super().version(zoo)}"


class NoStatus(Device):
    """OpenSSH's client says 255 where there was no status, and so do we."""

    def status_of(self, status):
        return 255


class CommandLine(Device):
    """exec is no POSIX shell."""
    posix = False
    sftp = False
    terminals = False
    NOT_HERE = {"bulk": "its commands take no such input", "eof": "its commands read no input",
                "killed-detached": "nothing can be detached there", "sftp": "it has none"}

    def __init__(self, *quirks, without=None, **more):
        super().__init__(*quirks, without={**self.NOT_HERE, **(without or {})}, **more)


class Cli(CommandLine):
    shell_types = ("show word\rexit 3\r", "\r\nword", 3)

    def command(self, word, status):
        return f"show {word} {status}"


class Windows(CommandLine):
    endless = "timeout 60"
    both_streams = "echo out& echo err 1>&2"
    shell_types = Cli.shell_types

    def command(self, word, status):
        return f"echo {word}& exit {status}"


SERVERS = [
    Device("one-in-all", also=("idle", "restart")),
    Device("one-at-a-time", also=("idle", "restart")),
    Device("closes-after", also=("eof", "restart"), in_a_row=60, without=CUT),
    Device("closes-later", in_a_row=60, without=CUT),
    Device("env-accept", also=("terminal",), findable=True),
    Device("env-ignore", also=("terminal",)),  # (paramiko itself refuses them)
    Device("env-close", also=("terminal",)),
    Device("env-drop", also=("terminal",)),
    Device("second-drops", also=("idle", "restart")),
    Device("second-overwrites"),
    Device("interactive-only", password=PASSWORD),
    Device("password-only", password=PASSWORD),
    Device("banner"),
    Device("old-kex", only=("refusal",), offers="diffie-hellman-group14-sha1"),
    Device("old-host-key", host_keys=("rsa",), only=("refusal",), offers="ssh-rsa"),
    Device("old-mac"),
    Cli("shell-only", only=("row", "mux", "terminal"), also=("terminal",), terminals=True),
    Cli("cli", without={"streams": "its errors are on standard output"}),
    Windows("windows"),
    Device("ping-drop", also=("idle",)),
    Device("ping-ignore", also=("idle",)),
    NoStatus("no-status", also=("eof",)),
    Device("status-first", also=("eof",)),
    Device("greets", "env-accept", findable=True, stderr_first=b"welcome\n"),
    Device("hangs-up", only=("logins",)),
]
