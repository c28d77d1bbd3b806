# SPDX-License-Identifier: MIT
"""A descriptor that can be read while a channel has something to be read, or has ended: what select() and poll() need.

Bytes come through one socket for everything under a lease, so no descriptor of the kernel's has this by itself: a thread
takes what comes, for as long as the stream lasts. It is the only one that this package starts, and only for programs that
ask a channel for its fileno().
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from functools import partial
from typing import Tuple

from ._errors import SshleaseError
from ._link import Link
from ._session import Stream


# The parent's own: a forked child must not put anything into them, nor take anything out.
_pipes: "weakref.WeakSet[_Pipe]" = weakref.WeakSet()


class _Pipe:
    """Readable or not, whoever asks however often."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._full = False
        _pipes.add(self)

    def set(self, full: bool) -> None:
        if full != self._full and self._writer >= 0:
            self._full = full
            if full:
                os.write(self._writer, b"*")
            else:
                os.read(self.reader, 1)

    def forget(self) -> None:
        """In a forked child: a pipe of its own under the same numbers, readable for good, for there is nothing to wait for."""
        with contextlib.suppress(OSError):
            pipe = os.pipe()
            for old, new in zip((self.reader, self._writer), pipe):
                if old >= 0:
                    os.dup2(new, old, inheritable=False)
                os.close(new)
            self._full = False
            self.set(True)
            os.close(self._writer)
        self._writer = -1

    def close(self) -> None:
        for fd in (self.reader, self._writer):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.reader = self._writer = -1


def _keep(stream: Stream, sources: Tuple[bytearray, bytearray], pipe: "weakref.ref[_Pipe]") -> bool:
    """Brings the pipe in step; the lock is held. Whether that was the last time."""
    found = pipe()
    if found is None:
        return True
    found.set(any(sources) or stream.eof or stream.over)
    return stream.over


class Readiness:
    """Owned by a channel; nothing refers back to it, so that a channel nobody holds any more still goes."""

    def __init__(self, link: Link, stream: Stream, sources: Tuple[bytearray, bytearray]) -> None:
        self._link, self._pipe = link, _Pipe()
        seen = weakref.ref(self._pipe)
        # Not while somebody is at the pipe: that is done with the lock held.
        weakref.finalize(self, link.later, self._pipe.close).atexit = False
        self._step = step = partial(_keep, stream, sources, seen)

        def run() -> None:
            with contextlib.suppress(SshleaseError):
                link.wait(step)
        threading.Thread(target=run, name=f"sshlease fileno {self._pipe.reader}", daemon=True).start()

    def fileno(self) -> int:
        return self._pipe.reader

    def refresh(self) -> None:
        """After somebody has read something."""
        with self._link.lock:
            self._step()


def _after_fork() -> None:
    for pipe in list(_pipes):
        pipe.forget()


os.register_at_fork(after_in_child=_after_fork)
