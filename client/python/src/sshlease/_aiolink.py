# SPDX-License-Identifier: MIT
"""The socket to the daemon, for the tasks of one asyncio event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Callable, Dict, Optional

from ._errors import DAEMON_GONE, FORKED, NO_LEASE
from ._link import RECV_SIZE, links
from ._session import NEVER, Session, Stream, gone

_NO_WAIT = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class AioLink:
    """The loop knows the link, the link does not know the lease: so a lease that nobody has any more can go."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        """Owns the connected socket from now on. Within the loop that it is for."""
        self.session = session
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._waiters: Dict["asyncio.Future[bool]", Callable[[], bool]] = {}
        self._renewal: Optional[asyncio.TimerHandle] = None
        self._renewal_at = NEVER
        self._writing = False
        links.add(self)
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._on_readable)

    async def wait(self, done: Callable[[], bool], deadline: Optional[float] = None) -> bool:
        """Sends what is queued and waits until `done()` or, False, until `deadline` (of the loop's time)."""
        self.flush()
        if done():
            return True
        future: "asyncio.Future[bool]" = self._loop.create_future()
        timer = None if deadline is None else self._loop.call_at(deadline, _expire, future)
        self._waiters[future] = done
        try:
            return await future
        finally:
            self._waiters.pop(future, None)
            if timer is not None:
                timer.cancel()

    def flush(self) -> None:
        """Sends what is queued, now or when the daemon takes it."""
        out = self.session.out
        try:
            while out:
                sent = self._sock.send(out, _NO_WAIT)
                del out[:sent]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            out.clear()  # it may have said why before it closed: that is still to be read
        except OSError as e:
            out.clear()
            self.session.end(DAEMON_GONE, f"cannot write to sshleased: {e.strerror}")
            self.changed()
        if bool(out) != self._writing and self._sock.fileno() >= 0:
            self._writing = bool(out)
            if out:
                self._loop.add_writer(self._sock.fileno(), self._on_writable)
            else:
                self._loop.remove_writer(self._sock.fileno())
        self._plan_renewal()

    def look(self) -> None:
        """Takes what has come, without waiting."""
        if not self.session.is_over():
            self._on_readable()

    def changed(self) -> None:
        """Wakes whoever has what it waits for."""
        for future, done in list(self._waiters.items()):
            if not future.done() and done():
                future.set_result(True)

    def discard(self, stream: Stream) -> None:
        """Ends the stream on the far side if it still runs. Does not wait."""
        if not stream.over:
            self.session.discard(stream)
            self.flush()

    def discard_later(self, stream: Stream) -> None:
        """From a finalizer, in whatever thread."""
        if not stream.over and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.discard, stream)

    def close(self) -> None:
        """Closes the socket. What still waits for something is told that there is no lease."""
        self.session.end(NO_LEASE, "the lease was closed")
        self._let_go()
        self.changed()

    def drop(self) -> bool:
        """As close(), from a finalizer, in whatever thread, with the loop running or not: the lease ends now, the
        descriptor goes when the loop sees that, or now if it runs no more. Whether there was something to let go of."""
        links.discard(self)
        if self.session.why is not None and self.session.why[0] == FORKED:
            return False
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._loop.is_closed():
            self._sock.close()
        elif not self._loop.is_running():
            self._let_go()
        return True

    def forget(self) -> None:
        """In a forked child: only this process' copy of the descriptor goes. Nothing is sent, and the loop is not told: its
        epoll is the parent's, too."""
        self._waiters.clear()
        self.session.out = bytearray()
        self.session.end(FORKED, "the lease belongs to the process that forked this one", True)
        self._sock.close()

    def _let_go(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        if self._sock.fileno() >= 0 and not self._loop.is_closed():
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(RECV_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self.session.feed(data)
        else:
            gone(self.session)
        if self.session.is_over():
            self._let_go()
        else:
            self.flush()
        self.changed()

    def _on_writable(self) -> None:
        self.flush()
        self.changed()

    def _plan_renewal(self) -> None:
        """A third of the lease's time is over: the loop sees to it, whether anything is called meanwhile or not."""
        at = self.session.renew_at
        if at == self._renewal_at:
            return
        self._renewal_at = at
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if at != NEVER:
            self._renewal = self._loop.call_at(at, self._renew)

    def _renew(self) -> None:
        self.session.tick(max(self._loop.time(), self.session.renew_at))
        self.flush()


def _expire(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_result(False)
