#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An SSH server made with paramiko: as a program with paramiko's ServerInterface has it, or, with --quirk, as one of the
devices that people meet. Runs commands as the account it runs as. Meant for 127.0.0.1 and for tests.

    device.py --port N --host-key FILE --authorized-keys FILE [--password TEXT] [--rekey BYTES] [--quirk NAME]...
"""

import argparse
import itertools
import logging
import os
import socket
import sys
import threading
import time

import paramiko
from paramiko import common as ssh
from paramiko.message import Message

import device_commands

QUIRKS = {
    "one-in-all": "refuses every session but the first of a connection",
    "one-at-a-time": "refuses a session while another one is open",
    "closes-after": "closes the connection as soon as a command is over",
    "closes-later": "closes the connection some milliseconds after a command is over",
    "env-accept": "takes variables, as an sshd with AcceptEnv *",
    "env-ignore": "never answers a variable",
    "env-close": "closes the channel on a variable",
    "env-drop": "closes the connection on a variable",
    "second-drops": "closes the connection when a second session is opened on it",
    "second-overwrites": "has one place for a session, which the last one opened takes",
    "interactive-only": "logs in by keyboard-interactive only",
    "password-only": "logs in by password only",
    "banner": "has a banner of 200 lines",
    "old-kex": "knows diffie-hellman-group14-sha1 only",
    "old-host-key": "signs with ssh-rsa only",
    "old-mac": "knows hmac-sha1 only",
    "shell-only": "refuses exec; a shell is a command line of its own",
    "cli": "exec runs a command line of its own, and closes the connection",
    "windows": "exec runs something like cmd.exe",
    "ping-drop": "closes the connection on a channel type that it does not know",
    "ping-ignore": "never answers a channel type that it does not know",
    "no-status": "closes channels without an exit status",
    "status-first": "sends the exit status before the end of the output",
    "greets": "writes a line to standard error before each command, as a .bashrc may",
    "hangs-up": "closes the connection 50 ms after the login",
}
BANNER = "".join(f"{i:3d} Authorized use only. All activity is recorded.\r\n" for i in range(200))
DELAYS = itertools.cycle((0.001, 0.005, 0.010, 0.020))


class Connection(paramiko.ServerInterface):
    """What one client may do, and the state of its connection."""

    def __init__(self, options, transport):
        self.options, self.transport = options, transport
        self.lock = threading.Lock()
        self.opened = 0         # sessions opened so far
        self.ran = 0            # commands begun so far
        self.open = set()       # sessions that are open
        self.current = None     # the last session that was opened
        self.terminals = {}     # channel -> its size
        self.over = False       # closing: nothing more is done for the client

    def has(self, quirk):
        return quirk in self.options.quirk

    # --- logging in ---

    def get_allowed_auths(self, username):
        if self.has("interactive-only"):
            return "keyboard-interactive"
        if self.has("password-only"):
            return "password"
        return "publickey"

    def check_auth_publickey(self, username, key):
        fits = "publickey" in self.get_allowed_auths(username) and key.get_base64() in self.options.authorized
        return self._logged_in() if fits else paramiko.AUTH_FAILED

    def check_auth_password(self, username, password):
        fits = self.has("password-only") and password == self.options.password
        return self._logged_in() if fits else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username, submethods):
        if not self.has("interactive-only"):
            return paramiko.AUTH_FAILED
        return paramiko.InteractiveQuery("Login", "", ("Password: ", False))

    def check_auth_interactive_response(self, responses):
        return self._logged_in() if list(responses) == [self.options.password] else paramiko.AUTH_FAILED

    def _logged_in(self):
        print("login", flush=True)
        if self.has("hangs-up"):
            threading.Timer(0.05, self.hang_up).start()
        return paramiko.AUTH_SUCCESSFUL

    def get_banner(self):
        return (BANNER, "en") if self.has("banner") else (None, None)

    # --- channels ---

    def check_channel_request(self, kind, chanid):
        """The order of things is the transport's: this is called before the channel is there."""
        if kind != "session":
            return paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE
        with self.lock:
            busy = any(not channel.closed for channel in self.open)
            if (self.has("one-in-all") and self.opened) or (self.has("one-at-a-time") and busy):
                return paramiko.OPEN_FAILED_RESOURCE_SHORTAGE
            self.opened += 1
        return paramiko.OPEN_SUCCEEDED

    def opened_channel(self, channel):
        with self.lock:
            self.open = {c for c in self.open if not c.closed} | {channel}
            self.current = channel

    def check_channel_env_request(self, channel, name, value):
        if not self.has("env-accept"):
            return False
        if not hasattr(channel, "variables"):
            channel.variables = {}
        channel.variables[name.decode()] = value.decode()
        return True

    def check_channel_pty_request(self, channel, term, width, height, pixelwidth, pixelheight, modes):
        self.terminals[channel] = (term.decode(), height, width)
        return not (self.has("cli") or self.has("windows"))

    def check_channel_window_change_request(self, channel, width, height, pixelwidth, pixelheight):
        return device_commands.resize(channel, height, width)

    def check_channel_shell_request(self, channel):
        if self.has("shell-only") or self.has("cli") or self.has("windows"):
            return self._begin(channel, None, device_commands.prompt)
        return self._begin(channel, None, device_commands.shell)

    def check_channel_exec_request(self, channel, command):
        if self.has("shell-only"):
            return False
        how = device_commands.shell
        if self.has("cli"):
            how = device_commands.command_line
        elif self.has("windows"):
            how = device_commands.windows
        return self._begin(channel, command.decode(), how)

    def check_channel_subsystem_request(self, channel, name):
        if name != "sftp" or self.has("shell-only") or self.has("cli") or self.has("windows"):
            return False
        return self._begin(channel, "exec /usr/lib/openssh/sftp-server", device_commands.shell)

    def _begin(self, channel, command, how):
        with self.lock:
            self.ran += 1
            if self.has("second-overwrites"):
                if self.ran > 1:
                    return False
                channel.out = self.current  # the answer goes to whoever opened last
        # The channel's answer to the request has to go out before what the command writes.
        channel.go = threading.Event()
        threading.Thread(target=self._run, args=(channel, command, how), daemon=True).start()
        return True

    def _run(self, channel, command, how):
        channel.go.wait(10)
        out = getattr(channel, "out", channel)
        session = device_commands.Session(channel, out, self.terminals.get(channel), getattr(channel, "variables", {}))
        try:
            if self.has("greets"):
                out.sendall_stderr(b"welcome\n")
            session.status_first = self.has("status-first")
            status = how(session, command)
            if not self.has("no-status") and not session.status_first:
                out.send_exit_status(status)
        except OSError:
            pass  # the client is gone
        out.close()
        channel.close()
        if self.has("closes-after") or self.has("cli") or self.has("second-overwrites"):
            self.hang_up()
        elif self.has("closes-later"):
            threading.Timer(next(DELAYS), self.hang_up).start()

    def hang_up(self):
        """Ends the connection in good order: closed with something unread, it would be reset, and what was sent lost."""
        self.over = True
        try:
            self.transport.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        threading.Timer(0.5, self.transport.close).start()


def on_channel_request(channel, message):
    """In front of paramiko's own handler: what it would answer otherwise than a device does."""
    connection = channel.transport.server_object
    if connection.over:
        return
    at = message.packet.tell()
    kind = message.get_text()
    if kind == "env":
        if connection.has("env-ignore"):
            return
        if connection.has("env-close"):
            channel.close()
            return
        if connection.has("env-drop"):
            connection.transport.close()
            return
    message.packet.seek(at)
    channel._handle_request(message)  # pylint: disable=protected-access
    if hasattr(channel, "go"):
        channel.go.set()


def on_channel_open(transport, message):
    connection = transport.server_object
    if connection.over:
        return
    at = message.packet.tell()
    kind, theirs = message.get_text(), message.get_int()
    if kind != "session":
        if connection.has("ping-drop"):
            transport.close()
        elif not connection.has("ping-ignore"):
            answer = Message()
            answer.add_byte(ssh.cMSG_CHANNEL_OPEN_FAILURE)
            for number in (theirs, paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE):
                answer.add_int(number)
            answer.add_string("unknown channel type")
            answer.add_string("en")
            transport._send_message(answer)  # pylint: disable=protected-access
        return
    if connection.has("second-drops") and connection.opened:
        transport.close()
        return
    message.packet.seek(at)
    transport._parse_channel_open(message)  # pylint: disable=protected-access
    channel = transport.accept(0)
    if channel is not None:
        connection.opened_channel(channel)


class Transport(paramiko.Transport):
    """One with handlers of ours. The tables are paramiko's own place for them."""
    _handler_table = {**paramiko.Transport._handler_table, ssh.MSG_CHANNEL_OPEN: on_channel_open}
    _channel_handler_table = {**paramiko.Transport._channel_handler_table, ssh.MSG_CHANNEL_REQUEST: on_channel_request}


def serve(sock, options):
    transport = Transport(sock)
    transport.add_server_key(options.key)
    offered = transport.get_security_options()
    if "old-kex" in options.quirk:
        offered.kex = ("diffie-hellman-group14-sha1",)
    if "old-host-key" in options.quirk:
        offered.key_types = ("ssh-rsa",)
    if "old-mac" in options.quirk:
        offered.digests = ("hmac-sha1",)
        offered.ciphers = ("aes128-ctr",)
    if options.rekey:
        transport.packetizer.REKEY_BYTES = options.rekey
        transport.packetizer.REKEY_PACKETS = 1 << 29
    try:
        transport.start_server(server=Connection(options, transport), event=threading.Event())
    except (paramiko.SSHException, EOFError, OSError):
        transport.close()


def load_key(path):
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(path)
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise SystemExit(f"device: {path} is no key that paramiko reads")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host-key", required=True)
    parser.add_argument("--authorized-keys", required=True)
    parser.add_argument("--password")
    parser.add_argument("--rekey", type=int)
    parser.add_argument("--quirk", action="append", default=[], choices=sorted(QUIRKS))
    options = parser.parse_args()
    with open(options.authorized_keys, encoding="ascii") as f:
        options.authorized = {line.split()[1] for line in f if line.strip()}
    options.key = load_key(options.host_key)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(64)
    os.chdir("/")
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            time.sleep(0.05)
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        serve(sock, options)


if __name__ == "__main__":
    main()
