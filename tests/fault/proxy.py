#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A TCP proxy that makes a network bad on purpose: delay, loss (as the stalls it causes), freeze, cut, black hole,
garbage. Its settings may change while connections go through it.

    proxy.py [--listen PORT] [--delay-ms ONE_WAY] HOST PORT      prints the port, then serves until its stdin ends
"""

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import sys
import threading
from collections import deque

UP, DOWN = "up", "down"  # towards the server, towards the client
HELD_MAX = 8 << 20       # bytes one direction holds back before it stops reading
RETRANSMISSION = 0.2     # seconds a lost segment costs, about TCP's smallest timeout


class _Pipe:
    """One direction of one connection: a queue of (due, bytes) between a reader and a writer."""

    def __init__(self, proxy, direction, reader, writer):
        self.proxy, self.direction, self.reader, self.writer = proxy, direction, reader, writer
        self.queue, self.held, self.ended = deque(), 0, False
        self.wake = asyncio.Event()
        self.flip = next(proxy.flips.get(direction, iter(())), None)
        self.passed = 0
        proxy.said[direction] = b""

    async def read(self):
        loop = asyncio.get_running_loop()
        due = 0.0
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(1 << 16):
                late = self.proxy.delay[self.direction]
                if self.proxy.loss and random.random() < self.proxy.loss:
                    late += RETRANSMISSION
                if self.proxy.corrupt.get(self.direction):
                    self.proxy.corrupt[self.direction] -= 1
                    data = data[:-1] + bytes([data[-1] ^ 0x55])
                data = self.spoil(data)
                due = max(due, loop.time() + late)
                self.proxy.bytes[self.direction] += len(data)
                self.queue.append((due, data))
                self.held += len(data)
                self.wake.set()
                while self.held > HELD_MAX:
                    await asyncio.sleep(0.01)
        self.ended = True
        self.wake.set()

    def spoil(self, data):
        """`data` with the byte in it spoiled that is to be, as counted from the connection's beginning."""
        said = self.proxy.said[self.direction]
        if len(said) < 8192:
            self.proxy.said[self.direction] = said + data[:8192 - len(said)]
        at = None if self.flip is None else self.flip - self.passed
        self.passed += len(data)
        if at is not None and 0 <= at < len(data):
            data = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1:]
        return data

    async def write(self):
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                while not self.queue:
                    if self.ended:
                        if self.writer.can_write_eof():
                            self.writer.write_eof()
                        return
                    self.wake.clear()
                    await self.wake.wait()
                due, data = self.queue[0]
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await self.proxy.flowing[self.direction].wait()
                self.queue.popleft()
                self.held -= len(data)
                self.writer.write(data)
                await self.writer.drain()


class Proxy:
    """Runs in a thread of its own; every method may be called from any thread."""

    def __init__(self, host, port, listen=0, delay=0.0):
        self.server = (host, port)
        self.delay = {UP: delay, DOWN: delay}  # seconds, one way
        self.loss = 0.0                        # chance that a segment comes late by a retransmission
        self.corrupt = {}                      # direction: so many chunks to come get a wrong byte
        self.flips = {}                        # direction: an iterator; each new connection gets its next byte to spoil
        self.said = {}                         # direction: the first 8 KiB of the newest connection
        self.greeting = None                   # bytes said to a new connection in the server's place, then silence
        self.black_hole = False                # new connections are accepted and nothing more
        self.bytes = {UP: 0, DOWN: 0}
        self.accepted = 0
        self.flowing = {}
        self._writers = set()
        self._tasks = set()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._main, args=(listen, started), daemon=True)
        self._thread.start()
        started.wait()

    def _main(self, listen, started):
        asyncio.set_event_loop(self._loop)

        async def begin():
            for direction in (UP, DOWN):
                self.flowing[direction] = asyncio.Event()
                self.flowing[direction].set()
            self._listener = await asyncio.start_server(self._connected, "127.0.0.1", listen, backlog=512)
            self.port = self._listener.sockets[0].getsockname()[1]
        self._loop.run_until_complete(begin())
        started.set()
        self._loop.run_forever()

    async def _connected(self, reader, writer):
        self.accepted += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        self._tasks.add(task)
        far = None
        try:
            if self.greeting is not None or self.black_hole:
                writer.write(self.greeting or b"")
                while await reader.read(1 << 16):
                    pass
                return
            far_reader, far = await asyncio.open_connection(*self.server)
            self._writers.add(far)
            for w in (writer, far):
                w.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up, down = _Pipe(self, UP, reader, far), _Pipe(self, DOWN, far_reader, writer)
            await asyncio.gather(up.read(), up.write(), down.read(), down.write())
        except (ConnectionError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            for w in (writer, far):
                if w is not None:
                    self._writers.discard(w)
                    w.close()

    def _call(self, function, *args):
        done = threading.Event()

        def run():
            function(*args)
            done.set()
        self._loop.call_soon_threadsafe(run)
        done.wait()

    def freeze(self, *directions):
        """Nothing flows any more (both ways unless said otherwise); connections stay up."""
        for d in directions or (UP, DOWN):
            self._call(self.flowing[d].clear)

    def thaw(self):
        for d in (UP, DOWN):
            self._call(self.flowing[d].set)

    def cut(self):
        """Resets every connection."""
        def reset():
            for w in list(self._writers):
                s = w.get_extra_info("socket")
                if s is not None:
                    with contextlib.suppress(OSError):
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                w.transport.abort()
        self._call(reset)

    def stop(self):
        """Closes everything, the listening socket too."""
        async def end():
            self._listener.close()
            for t in list(self._tasks):
                t.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._loop.stop()
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(end()))
        self._thread.join(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--listen", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    args = parser.parse_args()
    proxy = Proxy(args.host, args.port, args.listen, args.delay_ms / 1000)
    print(proxy.port, flush=True)
    sys.stdin.read()
    proxy.stop()


if __name__ == "__main__":
    main()
