# SPDX-License-Identifier: MIT
"""A client to be killed. `holder.py SOCKET TARGET [COMMAND]` says "asked", then "granted", then what the command says."""

import sys

from native import Client


def main():
    client = Client(sys.argv[1])
    rid = client.start_acquire(sys.argv[2])
    print("asked", flush=True)
    client.await_granted(rid)
    print("granted", flush=True)
    if len(sys.argv) > 3:
        stream = client.exec(sys.argv[3]).await_opened()
        print(stream.await_output("\n").split()[0].decode(), flush=True)
        stream.on_data = lambda fd, data: None  # it streams on, and is read
        client.pump(lambda: client.ended or stream.end, timeout=3600)
    sys.stdin.read()


if __name__ == "__main__":
    main()
