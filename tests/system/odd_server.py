# SPDX-License-Identifier: MIT
"""A little SSH server for what sshd never does: odd prompts, odd answers, hanging up. It logs in, and runs any command with
status 0 and no output; "refused" it refuses, "goes on" does not end."""

import socket
import threading
import time

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message

from sshd import Keys

cMSG_USERAUTH_PASSWD_CHANGEREQ = b"\x3c"


class _Auth(AuthHandler):
    def _parse_userauth_request(self, m):
        odd = self.transport.odd
        if odd.garbage is not None:
            message = Message()
            message.add_bytes(odd.garbage)
            self.transport._send_message(message)
            return
        super()._parse_userauth_request(m)

    def _generate_key_from_request(self, algorithm, keyblob):
        self.transport.algorithm = algorithm
        return super()._generate_key_from_request(algorithm, keyblob)

    def _send_auth_result(self, username, method, result):
        if result == "change it":
            message = Message()
            message.add_byte(cMSG_USERAUTH_PASSWD_CHANGEREQ)
            message.add_string("Your password has expired.")
            message.add_string("")
            self.transport._send_message(message)
            return
        super()._send_auth_result(username, method, result)

    _server_handler_table = {**AuthHandler._server_handler_table, 50: _parse_userauth_request}


class _Transport(paramiko.Transport):
    odd = algorithm = None

    def _parse_kex_init(self, m):
        super()._parse_kex_init(m)
        # It looks for the client's offer at the end of a list only, where libssh2 does not put it.
        self._remote_ext_info = "ext-info-c" if self.odd.ext_info else None

    def _parse_newkeys(self, m):
        if self.auth_handler is None:
            self.auth_handler = _Auth(self)
        super()._parse_newkeys(m)

    _handler_table = {**paramiko.Transport._handler_table, 21: _parse_newkeys}


class _Session(paramiko.ServerInterface):
    def __init__(self, odd, transport):
        self.odd, self.transport = odd, transport
        self.rounds = list(odd.rounds)

    def get_allowed_auths(self, username):
        return self.odd.methods

    def check_auth_password(self, username, password):
        self.odd.seen.append(("password", password))
        if self.odd.expired:
            return "change it"
        return paramiko.AUTH_SUCCESSFUL if password == self.odd.password else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username, key):
        self.odd.seen.append(("publickey", self.transport.algorithm))
        good = key.get_base64() in self.odd.keys and self.transport.algorithm in self.odd.algorithms
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def _ask(self):
        prompts = self.rounds.pop(0)
        return paramiko.server.InteractiveQuery("", "", *prompts)

    def check_auth_interactive(self, username, submethods):
        return self._ask() if self.rounds else paramiko.AUTH_FAILED

    def check_auth_interactive_response(self, responses):
        self.odd.seen.append(("answers", responses))
        if any(r not in ("", self.odd.password) for r in responses):
            return paramiko.AUTH_FAILED
        return self._ask() if self.rounds else paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_env_request(self, channel, name, value):
        return True

    def check_channel_exec_request(self, channel, command):
        def end():
            channel.send_exit_status(0)
            channel.close()
        if command != b"goes on":
            threading.Timer(0.02, end).start()
        return command != b"refused"


class OddServer:
    """`rounds`: of keyboard-interactive, each a list of (prompt, echo). `hangup`: seconds from the login until it closes
    the connection. `seen`: what was tried, in order."""

    host = "127.0.0.1"

    def __init__(self, keys, methods, *, user="odd", password=None, rounds=(), expired=False, hangup=None, ext_info=True,
                 algorithms=("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa", "ssh-ed25519"), garbage=None):
        self.keys = [line.split()[1] for line in keys.authorized()]
        self.host_key = keys.host_ecdsa
        self.methods, self.user, self.password, self.rounds = methods, user, password, rounds
        self.expired, self.hangup, self.ext_info, self.algorithms = expired, hangup, ext_info, algorithms
        self.garbage = garbage
        self.seen, self.logins, self.dialed = [], [], 0
        self.transports = []
        self.listener = socket.create_server((self.host, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def known_hosts_line(self, name):
        return f"{name} {' '.join(Keys.public(self.host_key).split()[:2])}\n"

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.dialed += 1
            threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock):
        transport = _Transport(sock)
        transport.odd = self
        transport.daemon = True
        self.transports.append(transport)
        transport.add_server_key(paramiko.ECDSAKey.from_private_key_file(self.host_key))
        try:
            transport.start_server(threading.Event(), _Session(self, transport))
        except paramiko.SSHException:
            return
        while transport.is_active() and not transport.is_authenticated():
            time.sleep(0.005)
        if transport.is_authenticated():
            self.logins.append(time.monotonic())
            if self.hangup is not None:
                time.sleep(self.hangup)
                transport.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        self.listener.close()
        for transport in self.transports:
            transport.close()

