# SPDX-License-Identifier: MIT
"""What was run under a lease, and what came of it: bounded, kept after the lease is over, for reports."""

from __future__ import annotations

import time
from collections import deque
from typing import Deque, Iterator, Optional

KEPT = 100           # the newest so many
COMMAND_CHARS = 400  # of each


class Record:
    """One command, shell or subsystem. Its fields are set once: safe to read from any thread."""

    __slots__ = ("command", "started", "ended", "returncode", "signal", "reason", "abandoned")

    def __init__(self, command: str) -> None:
        self.command = command if len(command) <= COMMAND_CHARS else command[: COMMAND_CHARS - 1] + "…"
        self.started = time.monotonic()
        self.ended: Optional[float] = None
        self.returncode: Optional[int] = None  # where it exited
        self.signal: Optional[str] = None      # the name, without SIG, of the one that killed it
        self.reason: Optional[str] = None      # why nothing is known of its end
        self.abandoned = False                 # whoever started it went without waiting for it

    def end(self, returncode: Optional[int] = None, signal: Optional[str] = None, reason: Optional[str] = None) -> None:
        """Only the first call counts."""
        if self.ended is None:
            self.returncode, self.signal, self.reason = returncode, signal, reason
            self.ended = time.monotonic()

    def outcome(self) -> str:
        """"exit 3", "SIGTERM", "running" or "no end seen"."""
        if self.ended is None:
            return "running"
        if self.signal:
            return f"SIG{self.signal}"
        return f"exit {self.returncode}" if self.returncode is not None else "no end seen"

    def seconds(self) -> float:
        return (time.monotonic() if self.ended is None else self.ended) - self.started


class History:
    """The newest records, oldest first."""

    def __init__(self) -> None:
        self._records: Deque[Record] = deque(maxlen=KEPT)
        self._begun = 0

    def begin(self, command: str) -> Record:
        record = Record(command)
        self._records.append(record)
        self._begun += 1
        return record

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(tuple(self._records))

    @property
    def forgotten(self) -> int:
        """How many are not kept any more."""
        return self._begun - len(self._records)
