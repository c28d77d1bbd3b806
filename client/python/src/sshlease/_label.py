# SPDX-License-Identifier: MIT
"""What a lease is called in `sshlease status` when nobody gave it a name: the pytest test that asks for it.

pytest and pytest-xdist say in the environment which test and which worker this is, so a program that a test starts is
labelled with the test, too.
"""

import os
from typing import Mapping, Optional

MAX_BYTES = 255  # PROTOCOL.md, limits


def shortened(text: str, limit: int = MAX_BYTES) -> str:
    """`text` in at most `limit` bytes of UTF-8, without NUL. The middle goes: the worker and the file stand at the
    beginning, the test and its parameters at the end."""
    data = text.replace("\0", "?").encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    mark = "…".encode("utf-8")
    head = (limit - len(mark)) // 3
    tail = limit - len(mark) - head
    return (data[:head].decode("utf-8", "ignore") + mark.decode("utf-8") + data[-tail:].decode("utf-8", "ignore"))


def of_test(node_id: str, environment: Optional[Mapping[str, str]] = None) -> str:
    """"gw3 tests/test_web.py::test_login"; without the worker where there is none."""
    worker = (os.environ if environment is None else environment).get("PYTEST_XDIST_WORKER", "")
    return shortened(f"{worker} {node_id}" if worker else node_id)


def default(environment: Optional[Mapping[str, str]] = None) -> str:
    """The test that runs now; empty outside of pytest."""
    now = (os.environ if environment is None else environment).get("PYTEST_CURRENT_TEST", "")
    # It ends in the phase: "tests/test_web.py::test_login (call)".
    node_id, _, phase = now.rpartition(" (")
    if not node_id or not phase.endswith(")"):
        node_id = now
    return of_test(node_id, environment) if node_id else ""
