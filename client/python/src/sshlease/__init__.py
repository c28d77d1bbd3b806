# SPDX-License-Identifier: MIT
"""Lease pooled SSH connections from sshleased and run commands on them.

    import sshlease

    with sshlease.lease("web1") as c:
        print(c.output("uname -a"))

The lease is a socket: when this object goes, or this process does, however it ends, the kernel closes the socket, and the
daemon ends what was started under the lease and takes the connection back. See Lease for what one can do with it,
sshlease.aio for asyncio, sshlease.paramiko for programs written for paramiko, SshleaseError for what can go wrong.
"""

from ._connect import default_socket
from ._errors import (AuthenticationError, Busy, CommandFailed, CommandTimeout, ConnectionLost, DaemonGone, Expired,
                      HostKeyError, LeaseEnded, NoDaemon, NoOrderlyEnd, Refused, Revoked, SshleaseError, Timeout, Unreachable)
from ._lease import Lease
from ._process import DEVNULL, PIPE, STDOUT, Process
from ._result import Result
from ._version import __version__
from ._wire import Pty

#: sshlease.lease("web1", …) and sshlease.connect("web1", …) are sshlease.Lease("web1", …).
lease = Lease
connect = Lease

__all__ = [
    "lease", "connect", "Lease", "Process", "Result", "Pty", "default_socket", "__version__", "PIPE", "STDOUT", "DEVNULL",
    "SshleaseError", "Busy", "Timeout", "Refused", "Unreachable", "HostKeyError", "AuthenticationError", "LeaseEnded",
    "Expired", "Revoked", "ConnectionLost", "DaemonGone", "NoDaemon", "NoOrderlyEnd", "CommandFailed", "CommandTimeout",
]
