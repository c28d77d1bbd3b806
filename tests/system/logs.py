# SPDX-License-Identifier: MIT
"""Follows what a child process writes to its standard error: keeps all of it and wakes whoever waits for a line."""

import re
import threading
import time

from waiting import NotInTime

SANITIZER = re.compile(r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                       r"SUMMARY: \w+Sanitizer")


class Log:
    def __init__(self, stream, path):
        self.path = path
        self.lines = []
        self.ended = False
        self._changed = threading.Condition()
        self._file = open(path, "ab")  # now: who counts descriptors counts this one from the start
        self._thread = threading.Thread(target=self._follow, args=(stream,), daemon=True)
        self._thread.start()

    def _follow(self, stream):
        with self._file:
            for raw in stream:
                self._file.write(raw)
                self._file.flush()
                with self._changed:
                    self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()
        stream.close()

    def mark(self):
        """A position: find(after=mark) looks only at what came later."""
        return len(self.lines)

    def matches(self, pattern, after=0):
        return [m for m in (re.search(pattern, line) for line in self.lines[after:]) if m]

    def find(self, pattern, timeout=15.0, after=0):
        """The first line that matches, waiting for it; fails at once when the process has ended without it."""
        deadline = time.monotonic() + timeout
        at = after
        with self._changed:
            while True:
                while at < len(self.lines):
                    found = re.search(pattern, self.lines[at])
                    if found:
                        return found
                    at += 1
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    tail = "\n".join(self.lines[-40:])
                    why = "the process ended" if self.ended else f"not within {timeout:g} s"
                    raise NotInTime(f"no log line like {pattern!r} ({why}); the last lines:\n{tail}")
                self._changed.wait(left)

    def join(self, timeout=10.0):
        self._thread.join(timeout)

    def assert_sane(self):
        bad = [i for i, line in enumerate(self.lines) if SANITIZER.search(line)]
        assert not bad, "a sanitizer complains:\n" + "\n".join(self.lines[max(0, bad[0] - 2):bad[0] + 60])
