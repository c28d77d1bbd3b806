# SPDX-License-Identifier: MIT
"""A daemon that is restarted is no error to who has sent nothing yet: whether another try is worth it, and when."""

from __future__ import annotations

import time
from typing import Optional

from ._connect import LEFT_SECONDS, left_seconds
from ._errors import DAEMON_GONE, NO_DAEMON, SHUTDOWN, TIMEOUT, SshleaseError, error_for, hidden

__tracebackhide__ = hidden

# For the successor of a daemon that has said that it was shutting down; of one that closed without a word.
SUCCESSOR_SECONDS = 5.0
GONE_SECONDS = 2.0
# Whoever waits for the next daemon is told after that: most are there sooner.
TELL_SECONDS = 1.0
_FIRST_PAUSE, _PAUSE_MAX = 0.01, 0.4


class Patience:
    """`timeout`: the caller's own, in seconds; None is none."""

    def __init__(self, path: str, timeout: Optional[float]) -> None:
        self._path = path
        self.began = time.monotonic()
        self.deadline = None if timeout is None else self.began + timeout
        self._until = 0.0  # with daemons that say they are shutting down
        self._gone_until: Optional[float] = None  # with daemons that close without a word; None: none has
        self._pause = 0.0
        self._first: Optional[SshleaseError] = None

    def left(self) -> Optional[float]:
        """What is left of the caller's timeout."""
        return None if self.deadline is None else max(0.001, self.deadline - time.monotonic())

    def is_long(self) -> bool:
        """Whether there is time to be told of the wait."""
        return self.deadline is None or self.deadline > time.monotonic() + TELL_SECONDS

    def pause(self, error: SshleaseError) -> float:
        """What sent nothing has failed with `error`: another try is worth it after so many seconds. Else raises what is to
        be told."""
        now = time.monotonic()
        self._first = self._first or error
        until = self._worth_until(error, now)
        last = until if self.deadline is None else min(until, self.deadline)
        if last <= now:
            raise self._told(error)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _PAUSE_MAX)
        return min(self._pause, last - now)

    def late(self, why: str, target: str) -> SshleaseError:
        """The caller's timeout is over."""
        return error_for(TIMEOUT, f"{why}; waited {time.monotonic() - self.began:.1f} s for another sshleased", target=target,
                         unsent=True)

    def _worth_until(self, error: SshleaseError, now: float) -> float:
        if error.code == SHUTDOWN:  # the successor is due when it has ended
            self._until = now + SUCCESSOR_SECONDS
        elif error.code == DAEMON_GONE:  # it may have ended with us in its queue, and systemd listens on
            self._gone_until = self._gone_until or now + GONE_SECONDS
            return self._gone_until
        elif error.code == NO_DAEMON:  # or it has ended a moment ago, to be started again
            self._until = max(self._until, now + LEFT_SECONDS - left_seconds(self._path))
        else:
            return now
        return self._until

    def _told(self, error: SshleaseError) -> SshleaseError:
        """That nobody listens is not what went wrong where somebody did before."""
        first = self._first
        if first is None or error.code != NO_DAEMON or first.code == NO_DAEMON:
            return error
        tail = "; no other came" if first.code == SHUTDOWN else ""
        return error_for(first.code, first.reason + tail, target=first.target, unsent=first.unsent)
