# SPDX-License-Identifier: MIT
"""The daemon as such, without a lease: what it is called, starting the user's own, and stopping it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from typing import Any, Dict, Optional, Tuple

from . import _wire as wire
from ._autostart import start_daemon
from ._connect import connect, socket_for
from ._errors import INVALID, PROTOCOL, TIMEOUT, NoDaemon, SshleaseError, error_for, hidden
from ._link import Link
from ._session import Session
from ._version import __version__

__tracebackhide__ = hidden

# The daemon answers at once; one that has not by then hangs.
ANSWER_SECONDS = 10.0


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


def status(path: str, seconds: float) -> Dict[str, Any]:
    """The state of the daemon at `path`, as PROTOCOL.md has it. Raises as name_and_version() does."""
    received, text = b"", b""
    with connect(path) as sock:
        sock.settimeout(seconds)
        sock.sendall(wire.encode(wire.HELLO, wire.MAGIC, wire.VERSION_MIN, wire.VERSION, f"sshlease-python {__version__}")
                     + wire.encode(wire.STATUS, 1))
        try:
            while data := sock.recv(65536):
                received += data
                while (found := wire.next_frame(received, 0, len(received))) is not None:
                    number, behind = found
                    values = wire.decode_body(number, received, 8, behind)
                    received = received[behind:]
                    if number == wire.ERROR:
                        raise error_for(values[1], values[3])
                    if number == wire.STATUS_REPLY:
                        text += values[2]
                        if not values[1]:
                            found_state: Dict[str, Any] = json.loads(text)
                            return found_state
        except socket.timeout:
            raise error_for(TIMEOUT, f"sshleased at {path} does not answer", unsent=True) from None
        except (wire.Violation, ValueError) as e:
            raise error_for(PROTOCOL, f"what listens at {path} does not speak sshlease's protocol: {e}") from None
    raise error_for(PROTOCOL, f"sshleased at {path} closed the connection without an answer")


def ensure(path: Optional[str] = None) -> None:
    """Starts a daemon of the user's own unless one is listening already."""
    where = socket_for(path, own=True)
    try:
        sock = connect(where)
    except NoDaemon:
        sock = start_daemon(where)
    sock.close()


def stop(path: str, seconds: float) -> Tuple[int, bool]:
    """Asks the user's daemon at `path` to end, as the system does when it goes down: leases in use have the time of
    `shutdown_drain`. Its process' number, and whether it has ended within `seconds`. Raises as name_and_version() does, and
    where the daemon is another user's."""
    pid = int(status(path, ANSWER_SECONDS)["pid"])
    process = os.pidfd_open(pid)
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            raise error_for(INVALID, f"the sshleased at {path} (process {pid}) is not yours; a system service is stopped by "
                                     "systemctl stop sshleased")
        signal.pidfd_send_signal(process, signal.SIGTERM)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return pid, bool(poll.poll(seconds * 1000))
    except OSError as e:
        if isinstance(e, SshleaseError):
            raise
        raise error_for(INVALID, f"cannot stop process {pid}: {e.strerror}") from None
    finally:
        os.close(process)
