# SPDX-License-Identifier: MIT
"""The socket to the daemon, for blocking calls from any number of threads. Starts no thread.

Of the threads that wait for something, one reads the socket, for all of them: what comes has its effect on the session,
and whoever has what it waited for is woken. When the reader has what it waited for, it wakes another to read on. The lock
is held while the session changes, never while a thread waits.

Interruptions (KeyboardInterrupt, a timeout by signal): bytes that were received or sent are accounted for in the same
step, so that an exception between two steps loses none; one that strikes while a message takes effect ends the link.

Finalizers may run anywhere, in a thread that holds the lock too, between any two steps. So what they want done they hand
to later(), which puts it off then.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import threading
import time
import weakref
from collections import deque
from typing import Callable, Deque, Dict, List, Optional, Protocol

from ._errors import DAEMON_GONE, FORKED, NO_LEASE
from ._session import NEVER, Session, Stream, gone

RECV_SIZE = 65536
# A wait for nothing but bytes is one recv() of at most this many seconds; a shorter one needs a poll() before it.
_TICK = 10
_NO_WAIT = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class _Waiter:
    """A thread that waits while another reads."""

    __slots__ = ("done", "gate")

    def __init__(self, done: Callable[[], bool]) -> None:
        self.done = done
        self.gate = threading.Lock()
        self.gate.acquire()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # woken already
            self.gate.release()


class Link:
    def __init__(self, sock: socket.socket, session: Session) -> None:
        """Owns the connected socket from now on."""
        self.session = session
        self.lock = threading.RLock()
        self._sock = sock
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _TICK, 0))
        self._got: List[bytes] = []  # received, not fed yet
        self._reading = False
        self._closing = False
        self._waiters: Dict[_Waiter, None] = {}
        self._later: Deque[Callable[[], None]] = deque()
        links.add(self)

    # --- the calls ---

    def wait(self, done: Callable[[], bool], deadline: Optional[float] = None) -> bool:
        """Sends what is queued and waits until `done()` or, False, until `deadline` (of time.monotonic()). `done` is asked
        with the lock held, and must be true once the session is over. The caller does not hold the lock."""
        session = self.session
        self.lock.acquire()
        try:
            while True:
                if self._later:
                    self._run_later()
                if self._got:
                    self._feed()
                now = time.monotonic()
                if now >= session.renew_at:
                    session.tick(now)
                if session.out:
                    self._flush()
                if done():
                    return True
                until = session.renew_at if deadline is None else min(session.renew_at, deadline)
                if self._reading:
                    self._park(done, until - now)
                else:
                    self._read(until - now)
                if deadline is not None and time.monotonic() >= deadline:
                    if self._got:
                        self._feed()
                    return done()
        finally:
            if not self._reading:
                for waiter in self._waiters:
                    waiter.wake()
                    break
            self.lock.release()

    def look(self) -> None:
        """Takes what has come, without waiting."""
        if not self.session.is_over():
            self.wait(lambda: False, time.monotonic())

    def flush(self) -> None:
        """Sends what is queued, as far as the daemon takes it now."""
        with self.lock:
            self._flush()

    def later(self, action: Callable[[], None]) -> None:
        """For finalizers: does it now, or when whoever is at work in this very thread is done. Not at all while the
        interpreter goes down, when a thread that is no more may still hold the lock: the link goes with the process."""
        if sys.is_finalizing():
            return
        self._later.append(action)
        if not getattr(self.lock, "_is_owned")():  # has none in the types, but Condition lives on it
            with self.lock:
                self._run_later()
                self._flush()

    def changed(self) -> None:
        """The session has changed by a call rather than by what came: wakes whom that concerns. The lock is held."""
        for waiter in self._waiters:
            if waiter.done():
                waiter.wake()

    def discard(self, stream: Stream) -> None:
        """Ends the stream on the far side if it still runs. Does not wait."""
        with self.lock:
            self.session.discard(stream)
            self._flush()

    def close(self) -> None:
        """Closes the socket. What still waits for something is told that there is no lease."""
        with self.lock:
            self._closing = True
            self.session.end(NO_LEASE, "the lease was closed")
            with contextlib.suppress(OSError):
                # A reader's recv() comes back, and then the reader closes.
                self._sock.shutdown(socket.SHUT_RDWR)
            if not self._reading:
                self._sock.close()
            self.changed()

    def drop(self) -> bool:
        """As close(), from a finalizer or at the interpreter's exit: takes no lock, for nobody else has this link. Whether
        there was something to let go of: in a forked child there is not."""
        links.discard(self)
        if self.session.why is not None and self.session.why[0] == FORKED:
            return False
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        return True

    def forget(self) -> None:
        """In a forked child: only this process' copy of the descriptor goes. Nothing is sent."""
        self.lock = threading.RLock()
        self._waiters.clear()
        self._later.clear()
        self._got.clear()
        self._reading = False
        self.session.out = bytearray()  # a thread of the parent's may be sending the other
        self.session.end(FORKED, "the lease belongs to the process that forked this one", True)
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    # --- the lock is held below ---

    def _run_later(self) -> None:
        while self._later:
            self._later.popleft()()

    def _feed(self) -> None:
        """What was received has its effect, and wakes whom it concerns."""
        session = self.session
        try:
            while self._got:
                data = self._got.pop(0)
                if data:
                    session.feed(data)
                else:
                    gone(session)
            if self._later:
                self._run_later()
        except BaseException:
            session.end(NO_LEASE, "this program was interrupted while a message took effect", False)
            raise
        finally:
            if session.is_over() and session.why is not None and session.why[0] != FORKED:
                # The daemon takes the lease back now, even if the caller keeps the object for long.
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)
            if self._waiters:
                self.changed()

    def _flush(self) -> None:
        out = self.session.out
        while out:
            sent: List[int] = []
            try:
                sent.extend(map(self._sock.send, (out,), (_NO_WAIT,)))
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                out.clear()  # it may have said why before it closed: that is still to be read
                return
            except OSError as e:
                out.clear()
                self.session.end(DAEMON_GONE, f"cannot write to sshleased: {e.strerror}")
                self.changed()
                return
            finally:
                if sent:
                    del out[:sent[0]]

    def _read(self, left: float) -> None:
        """Waits at most `left` seconds for bytes, with the lock released meanwhile, and feeds them."""
        pending = bool(self.session.out)
        self._reading = True
        self.lock.release()
        try:
            flags = 0
            if pending or left <= _TICK:
                flags = socket.MSG_DONTWAIT
                poll = select.poll()
                poll.register(self._sock, select.POLLIN | (select.POLLOUT if pending else 0))
                poll.poll(max(0, min(left, 3600)) * 1000 + (0 if left <= 0 else 1))
            self._got.extend(map(self._sock.recv, (RECV_SIZE,), (flags,)))
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._got.append(b"")  # reset, or closed under us
        finally:
            _acquire(self.lock)
            self._reading = False
            if self._closing:
                self._sock.close()  # close() came meanwhile, and left that to this thread
        if self._got:
            self._feed()

    def _park(self, done: Callable[[], bool], left: float) -> None:
        """Waits while another thread reads."""
        if self.session.out:
            # The daemon takes no more at the moment. The reader, in its recv(), does not watch for that.
            poll = select.poll()
            poll.register(self._sock, select.POLLOUT)
            self.lock.release()
            try:
                poll.poll(max(0.0, min(left, 0.1)) * 1000)
            finally:
                _acquire(self.lock)
            return
        waiter = _Waiter(done)
        self._waiters[waiter] = None
        self.lock.release()
        try:
            waiter.gate.acquire(timeout=-1 if left == NEVER else max(0.0, min(left, 1e6)))
        finally:
            _acquire(self.lock)
            self._waiters.pop(waiter, None)


def _acquire(lock: threading.RLock) -> None:
    """Whatever interrupts it: the lock is held afterwards."""
    caught: Optional[BaseException] = None
    while True:
        try:
            lock.acquire()
            break
        except BaseException as e:
            caught = e
    if caught is not None:
        raise caught


class _Forgets(Protocol):
    def forget(self) -> None: ...


# Every link of this process, so that a forked child can let go of its copies.
links: "weakref.WeakSet[_Forgets]" = weakref.WeakSet()


def _after_fork() -> None:
    for link in list(links):
        link.forget()
    links.clear()


os.register_at_fork(after_in_child=_after_fork)
