# SPDX-License-Identifier: MIT
"""What paramiko's objects have and ours have not: one error that names it and says why."""

from __future__ import annotations

from typing import Dict, NoReturn

_FORWARDS = ("a lease has no forwards; `ssh -L`, `-R` and `-D` through the target's socket for ssh have "
             "(`sshlease ssh-config`)")
_AGENT = "the daemon logs in with keys of its own, and forwards no agent"
_SERVER = "a lease is a client's"
_OWNER = "the SSH connection is the daemon's, which also checks the host's key"
_ALGORITHMS = "the target's configuration says which algorithms are allowed"
_THREAD = "no thread is behind it"
_WITHIN = "that is how paramiko does its work, which is done otherwise here"

_WHY: Dict[str, str] = {
    **dict.fromkeys(("request_port_forward", "cancel_port_forward", "open_forwarded_tcpip_channel",
                     "origin_addr"), _FORWARDS),
    **dict.fromkeys(("request_forward_agent", "open_forward_agent_channel"), _AGENT),
    **dict.fromkeys(("request_x11", "open_x11_channel"), "a lease has no X11 forwarding"),
    **dict.fromkeys(("start_server", "add_server_key", "get_server_key", "accept", "set_subsystem_handler", "load_server_moduli",
                     "send_exit_status", "send_stderr", "sendall_stderr", "server_object", "server_accepts",
                     "server_accept_cv", "server_key_dict", "subsystem_table"), _SERVER),
    **dict.fromkeys(("get_remote_server_key", "get_host_keys", "renegotiate_keys", "send_ignore", "global_request",
                     "global_response", "packetizer", "sock", "host_key", "host_key_type", "session_id", "H", "K", "kex_engine",
                     "kexgss_ctxt", "local_kex_init", "remote_kex_init", "initial_kex_done", "in_kex", "local_version",
                     "remote_version", "server_extensions", "server_sig_algs", "channels_seen", "remote_chanid",
                     "in_window_size", "in_window_sofar", "in_window_threshold", "in_max_packet_size", "out_window_size",
                     "out_max_packet_size"), _OWNER),
    **dict.fromkeys(("get_security_options", "preferred_ciphers", "preferred_compression", "preferred_kex", "preferred_keys",
                     "preferred_macs", "preferred_pubkeys", "local_cipher", "local_compression", "local_mac", "remote_cipher",
                     "remote_compression", "remote_mac"), _ALGORITHMS),
    **dict.fromkeys(("ident", "native_id", "run", "start"), _THREAD),
    **dict.fromkeys(("auth_handler", "channel_events", "clear_to_send", "clear_to_send_lock", "completion_event", "event",
                     "event_ready", "in_buffer", "in_stderr_buffer", "lock", "out_buffer_cv", "ultra_debug", "FLAG_APPEND",
                     "FLAG_BINARY", "FLAG_BUFFERED", "FLAG_LINE_BUFFERED", "FLAG_READ", "FLAG_UNIVERSAL_NEWLINE",
                     "FLAG_WRITE"), _WITHIN),
}


class NotHere(AttributeError):
    """An attribute that paramiko's object of that name has, or may have."""


def missing(kind: str, name: str) -> NoReturn:
    """For __getattr__()."""
    if name.startswith("_"):
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")
    raise NotHere(f"sshlease.paramiko has no {kind}.{name}: {_WHY.get(name, 'see client/python/README.md for what it has')}")
