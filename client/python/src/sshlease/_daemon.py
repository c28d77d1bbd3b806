"""The daemon as such, without a lease."""

from __future__ import annotations

import time

from . import _wire as wire
from ._autostart import start_daemon
from ._connect import connect, default_socket
from ._errors import TIMEOUT, NoDaemon, error_for
from ._link import Link
from ._session import Session
from ._version import __version__


def name_and_version(path: str, seconds: float) -> str:
    """What the daemon at `path` calls itself, "sshleased 0.1.0". Raises as a lease does, and Timeout after `seconds`."""
    session = Session("")
    session.out += wire.encode(wire.HELLO, wire.MAGIC, wire.VERSION_MIN, wire.VERSION, f"sshlease-python {__version__}")
    link = Link(connect(path), session)
    try:
        if not link.wait(lambda: bool(session.daemon) or session.is_over(), time.monotonic() + seconds):
            raise error_for(TIMEOUT, f"sshleased at {path} does not answer", unsent=True)
        if not session.daemon:
            raise session.error()
        return session.daemon
    finally:
        link.close()


def ensure() -> None:
    """Starts a daemon of the user's own unless one is listening already."""
    try:
        sock = connect(default_socket())
    except NoDaemon:
        sock = start_daemon(None, "")
    sock.close()
