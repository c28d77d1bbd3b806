"""What paramiko's objects have and ours have not: one error that names it and says why."""

from __future__ import annotations

from typing import Dict, NoReturn

_FORWARDS = ("a lease has no forwards; `ssh -L`, `-R` and `-D` through the target's socket for ssh have "
             "(`sshlease ssh-config`)")
_AGENT = "the daemon logs in with keys of its own, and forwards no agent"
_SERVER = "a lease is a client's"
_OWNER = "the SSH connection is the daemon's, which also checks the host's key"

_WHY: Dict[str, str] = {
    **dict.fromkeys(("request_port_forward", "cancel_port_forward", "open_forwarded_tcpip_channel"), _FORWARDS),
    **dict.fromkeys(("request_forward_agent", "open_forward_agent_channel"), _AGENT),
    **dict.fromkeys(("request_x11", "open_x11_channel"), "a lease has no X11 forwarding"),
    **dict.fromkeys(("start_server", "add_server_key", "get_server_key", "accept", "set_subsystem_handler", "load_server_moduli",
                     "send_exit_status", "send_stderr", "sendall_stderr", "server_object"), _SERVER),
    **dict.fromkeys(("get_remote_server_key", "get_host_keys", "get_security_options", "renegotiate_keys", "send_ignore",
                     "global_request", "packetizer", "sock", "host_key", "remote_version", "remote_cipher"), _OWNER),
}


class NotHere(AttributeError):
    """An attribute that paramiko's object of that name has, or may have."""


def missing(kind: str, name: str) -> NoReturn:
    """For __getattr__()."""
    if name.startswith("_"):
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")
    raise NotHere(f"sshlease.paramiko has no {kind}.{name}: {_WHY.get(name, 'see client/python/README.md for what it has')}")
