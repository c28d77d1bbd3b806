# SPDX-License-Identifier: MIT
"""Many clients of one user's, who want more than their share. Run as a program, as a user of its own:
    crowd.py WHAT SOCKET [COUNT]
It says how many were let in and what the next one was told, as JSON, and stays until its stdin ends."""

import contextlib
import json
import os
import socket
import struct
import sys
from array import array

import native

HELLO = struct.pack(">III", 8, 1, 4)  # of the mux protocol
ALIVE_CHECK = struct.pack(">III", 8, 0x10000004, 0)
KEPT = []


def say(**values):
    print(json.dumps(values), flush=True)


def greeted(path):
    KEPT.append(native.Client(path, timeout=60.0))
    return KEPT[-1]


def until_refused(count, one):
    """Calls `one` so often at most; says how often it was let do so, and how it was refused."""
    inside, code, text = 0, "", ""
    try:
        while inside < count:
            one()
            inside += 1
    except native.Error as e:
        code, text = e.name, e.text
    say(inside=inside, code=code, text=text)


def settle(client):
    """Until the daemon has read what the client said last: another one, which comes later, has been answered."""
    with native.Client(sys.argv[2]) as other:
        other.status()
    with contextlib.suppress(native.NotInTime):
        client.pump(lambda: False, timeout=0.05)


def idle(path, count):
    """Greeted, and then nothing."""
    until_refused(int(count), lambda: greeted(path))


def mux_idle(path, count):
    """The same at a mux socket; who is not told that the daemon is alive is refused."""
    inside, text = 0, ""
    while inside < int(count) and not text:
        s = socket.socket(socket.AF_UNIX)
        KEPT.append(s)
        s.settimeout(60)
        s.connect(path)
        s.sendall(HELLO + ALIVE_CHECK)
        with s.makefile("rb") as said:
            frames = [said.read(struct.unpack(">I", said.read(4))[0]) for _ in range(2)]  # HELLO's, and the answer
        if frames[1].startswith(struct.pack(">I", 0x80000005)):
            inside += 1
        else:
            text = frames[1][8:].decode()
    say(inside=inside, text=text)


def acquire(client, label=""):
    """Asks for a lease, until the daemon has refused it or not: a RENEW behind it is answered then, one way or another."""
    rid = client.start_acquire("t", acquire_timeout_ms=600000, label=label)
    renew = client.rid()
    client.send("RENEW", rid=renew, lease_timeout_ms=0)
    client.answer("RENEWED", "ERROR", rid=renew)
    for message in client.answers:
        if message.type == "ERROR" and message.rid == rid:
            raise native.Error(message.code, message.text, message.unsent)


def leases(path, count):
    """Held or waited for."""
    until_refused(int(count), lambda: acquire(greeted(path)))


def streams(path, count):
    client = greeted(path)
    client.acquire("t")
    until_refused(int(count), lambda: client.exec("sleep 1000").await_opened())


def descriptors(path, count):
    """With the first bytes of a frame."""
    def one():
        client = greeted(path)
        client.socket.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [0]))])
        settle(client)
    until_refused(int(count), one)


def held(path, count):
    """Most of a frame, each."""
    def one():
        client = greeted(path)
        client.send_raw(struct.pack(">II", 200000, 1) + bytes(150000))
        settle(client)
    until_refused(int(count), one)


def unread(path, count):
    """Leases with labels that are long in an answer; then STATUS from each of many sockets, of which none is read."""
    for _ in range(300):
        acquire(greeted(path), "\x01" * 255)
    for _ in range(int(count)):
        greeted(path).socket.sendall(native.encode("STATUS", rid=77))
    say(asked=int(count))
    sys.stdin.readline()
    # Whoever was answered in time, and whoever was told why not.
    told, ended = 0, 0
    for client in KEPT[-int(count):]:
        said = b""
        client.socket.settimeout(60)
        while more := client.socket.recv(1 << 20):
            said += more
            if said[4:8] == struct.pack(">I", native.MESSAGES["ERROR"].number):
                told += 1
                break
        else:
            ended += 1
    say(told=told, ended=ended)


WAYS = {"idle": idle, "mux-idle": mux_idle, "leases": leases, "streams": streams, "descriptors": descriptors,
        "held": held, "unread": unread}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:])
    sys.stdin.read()
    os._exit(0)
