# SPDX-License-Identifier: MIT
"""A good client: `bystander.py SOCKET TARGET`. For each line "N" it leases, runs a command and gives back, N times, and
says how long each of them took, in milliseconds, as a line of JSON."""

import json
import sys
import time

from native import Client


def one(path, target):
    begun = time.monotonic()
    with Client(path) as client:
        client.acquire(target)
        stream = client.run("echo in")
        assert stream.stdout == b"in\n" and stream.end.exit_status == 0, stream.end
        client.release()
    return (time.monotonic() - begun) * 1000


def main():
    for line in sys.stdin:
        print(json.dumps([one(*sys.argv[1:]) for _ in range(int(line))]), flush=True)


if __name__ == "__main__":
    main()
