"""Devices: programs/device.py with a quirk each, which is said there. What has nothing to do with a quirk is tested at
`paramiko`, the same program without."""

from servers.libraries import Paramiko

ELSEWHERE = {"rekey": "as at paramiko", "user-keys": "as at paramiko", "host-keys": "as at paramiko"}
PASSWORD = "correct horse battery"


class Device(Paramiko):
    def __init__(self, *quirks, name=None, password=None, without=None, only=None, **more):
        self.name = f"device-{name or quirks[0]}"
        self.quirks, self.password, self.only = quirks, password, only
        self.without = {**ELSEWHERE, **(without or {})}
        for key, value in more.items():
            setattr(self, key, value)

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
    Device("one-in-all"),
    Device("one-at-a-time"),
    Device("closes-after", in_a_row=60),
    Device("closes-later", in_a_row=60),
    Device("env-accept", findable=True),
    Device("env-ignore"),  # (paramiko itself refuses them)
    Device("env-close"),
    Device("env-drop"),
    Device("second-drops"),
    Device("second-overwrites"),
    Device("interactive-only", password=PASSWORD),
    Device("password-only", password=PASSWORD),
    Device("banner"),
    Device("old-kex", only=("refusal",), offers="diffie-hellman-group14-sha1"),
    Device("old-host-key", host_keys=("rsa",), only=("refusal",), offers="ssh-rsa"),
    Device("old-mac"),
    Cli("shell-only", only=("row", "mux", "terminal"), terminals=True),
    Cli("cli", without={"streams": "its errors are on standard output"}),
    Windows("windows"),
    Device("ping-drop"),
    Device("ping-ignore"),
    NoStatus("no-status"),
    Device("status-first"),
    Device("greets", "env-accept", findable=True, stderr_first=b"welcome\n"),
    Device("hangs-up", only=("logins",)),
]
