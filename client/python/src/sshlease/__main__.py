# SPDX-License-Identifier: MIT
"""python -m sshlease: which daemon this user's programs find, starting one of his own, and stopping it."""

from __future__ import annotations

import argparse
import os
import sys

from . import _daemon
from ._connect import socket_for
from ._errors import NoDaemon, SshleaseError
from ._version import __version__

_STOP_SECONDS = 90.0  # longer than shutdown_drain is, unless the configuration says more


def _status(path: str) -> str:
    return f"{_daemon.name_and_version(path, _daemon.ANSWER_SECONDS)} at {path}"


def _stop(path: str) -> str:
    try:
        pid, ended = _daemon.stop(path, _STOP_SECONDS)
    except NoDaemon:
        return f"no sshleased is listening at {path}"
    return f"stopped process {pid}" if ended else f"process {pid} has been told to stop; leases are still in use"


def _print(text: str) -> int:
    """The exit status: output that cannot be written is a failure. Not by print(), which finds out at the end only."""
    try:
        if sys.stdout is None:
            raise OSError("it is not open")
        os.write(sys.stdout.fileno(), f"{text}\n".encode())
    except OSError as error:
        print(f"sshlease: cannot write to standard output: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sshlease", description=f"sshlease {__version__} for Python: the daemon that programs here find.",
        epilog="Commands are run by the program `sshlease`, or by sshlease.lease() in Python: see help(\"sshlease\").")
    parser.add_argument("verb", nargs="?", choices=("status", "start", "stop"), default="status",
                        help="status: which daemon answers (the default). start: a daemon of your own where none listens, as "
                             "autostart=True does. stop: end that; leases in use have a while to be given back")
    parser.add_argument("--socket", metavar="PATH", help="the daemon's socket, instead of the usual places")
    parser.add_argument("--version", action="version", version=f"sshlease {__version__}")
    options = parser.parse_args()
    try:
        path = socket_for(options.socket, own=options.verb != "status")
        if options.verb == "start":
            _daemon.ensure(options.socket)
        return _print(_stop(path) if options.verb == "stop" else _status(path))
    except SshleaseError as error:
        print(f"sshlease: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
