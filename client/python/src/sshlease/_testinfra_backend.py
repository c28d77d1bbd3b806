# SPDX-License-Identifier: MIT
"""The class behind `sshlease://`; testinfra imports it when it is first asked for one."""

from __future__ import annotations

from typing import Any, Optional

from testinfra.backend.base import BaseBackend

from ._history import History
from ._lease import Lease

TIMEOUT_S = 300.0  # how long a command waits for its turn at most, unless the host says ?timeout=


class SshleaseBackend(BaseBackend):  # type: ignore[misc]  # testinfra has no types
    """Each command takes a lease and gives it back. The connection stays open in the pool meanwhile, so that costs round
    trips to the daemon only; and any number of workers can share however few connections the target allows."""

    NAME = "sshlease"

    def __init__(self, hostspec: str, timeout: Optional[float] = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(self.parse_hostspec(hostspec).name, *args, **kwargs)
        self.target = hostspec
        self.timeout = TIMEOUT_S if timeout is None else float(timeout)
        self.history = History()

    def get_pytest_id(self) -> str:
        return f"{self.NAME}://{self.target}"

    def run(self, command: str, *args: Any, **kwargs: Any) -> Any:
        line = self.get_command(command, *args)
        record = self.history.begin(line)
        try:
            with Lease(self.target, timeout=self.timeout) as held:
                done = held.run(line)
        except BaseException as error:
            record.end(reason=str(error) or type(error).__name__)
            raise
        record.end(done.returncode, done.signal)
        return self.result(done.returncode, line.encode(), done.stdout_bytes, done.stderr_bytes)
