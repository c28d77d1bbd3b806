# SPDX-License-Identifier: MIT
"""Waiting for something with a deadline. For what offers an event (a log line, a message, a process's end) wait for that
event instead: Log.find(), Client.pump(), Watch.await_gone()."""

import time


class NotInTime(AssertionError):
    pass


def until(condition, what, timeout=15.0, interval=0.01):
    """Calls `condition` until it answers something true, and returns that. `what` names the thing in the failure, or
    is called for a text then."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(interval)
