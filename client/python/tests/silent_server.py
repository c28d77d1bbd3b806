# SPDX-License-Identifier: MIT
"""A server made with paramiko, as some devices are: it closes a command's channel without saying how the command ended. Of
"cut …" it closes the connection in mid-output instead."""

import socket
import sys
import threading
import time

import paramiko


class Silent(paramiko.ServerInterface):
    def __init__(self, transport):
        self._transport = transport

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_env_request(self, channel, name, value):
        return False

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _run(self, channel, command):
        time.sleep(0.05)  # until the answer to the request is out
        channel.sendall(f"out of {command}\n".encode())
        channel.sendall_stderr(b"err\n")
        if command.startswith("cut "):
            time.sleep(0.2)
            self._transport.close()
        channel.close()


def main():
    key = paramiko.Ed25519Key(filename=sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(key)
            try:
                transport.start_server(server=Silent(transport))
            except (paramiko.SSHException, EOFError):
                pass


if __name__ == "__main__":
    main()
