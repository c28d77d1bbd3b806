# SPDX-License-Identifier: MIT
"""paramiko's files of a channel: what exec_command() and makefile() give. See sshlease.paramiko."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Callable, Iterator, List, NoReturn, Optional, Protocol, Union

from ._common import carry
from ._errors import SshleaseError, hidden
from ._not_here import missing

__tracebackhide__ = hidden
_PART = 65536


class _Channel(Protocol):
    """As much of a channel as its files need."""

    def sendall(self, s: Union[str, bytes, bytearray, memoryview]) -> None: ...
    def shutdown_write(self) -> None: ...


class ChannelFile:
    """As paramiko has it: read() gives bytes whatever the mode, lines are text unless the mode has a "b"; what is written
    is sent at once. What had come when read() raises is not lost: after socket.timeout the next call gives it, and an error
    of ours carries it."""

    SEEK_SET, SEEK_CUR, SEEK_END = os.SEEK_SET, os.SEEK_CUR, os.SEEK_END
    newlines = None

    def __init__(self, channel: _Channel, mode: str, recv: Callable[[int], bytes]) -> None:
        self.channel, self.mode, self._recv = channel, mode, recv
        self._got = bytearray()
        self._position = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def _open(self) -> None:
        if self._closed:
            raise OSError("File is closed")

    def readable(self) -> bool:
        return "r" in self.mode or "+" in self.mode

    def writable(self) -> bool:
        return "w" in self.mode or "+" in self.mode

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> NoReturn:
        raise OSError("File does not support seeking.")

    def tell(self) -> int:
        """Bytes that were read and written."""
        return self._position

    def _more(self) -> bool:
        """Waits for something more. False at the end."""
        try:
            data = self._recv(_PART)
        except SshleaseError as error:
            mine = bytes(self._got)
            carry(error, *((None, mine) if isinstance(self, ChannelStderrFile) else (mine, None)), None)
            raise
        self._got += data
        return bool(data)

    def _taken(self, count: int) -> bytes:
        data = bytes(self._got[:count])
        del self._got[:count]
        self._position += len(data)
        return data

    def read(self, size: Optional[int] = None) -> bytes:
        self._open()
        most = sys.maxsize if size is None or size < 0 else size
        while len(self._got) < most and self._more():
            pass
        return self._taken(most)

    def readinto(self, buff: Any) -> int:
        data = self.read(len(buff))
        buff[:len(data)] = data
        return len(data)

    def readline(self, size: Optional[int] = None) -> Any:
        self._open()
        most = sys.maxsize if size is None or size < 0 else size
        searched = 0
        while (at := self._got.find(b"\n", searched, most)) < 0 and len(self._got) < most:
            searched = len(self._got)
            if not self._more():
                break
        line = self._taken(at + 1 if at >= 0 else most)
        return line if "b" in self.mode else line.decode("utf-8")

    def readlines(self, sizehint: Optional[int] = None) -> List[Any]:
        lines: List[Any] = []
        size = 0
        while (sizehint is None or sizehint < 0 or size < sizehint) and (line := self.readline()):
            lines.append(line)
            size += len(line)
        return lines

    def __iter__(self) -> Iterator[Any]:
        return self

    xreadlines = __iter__

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def write(self, data: Union[str, bytes]) -> None:
        self._open()
        self.channel.sendall(data)
        self._position += len(data)

    def writelines(self, sequence: Any) -> None:
        for line in sequence:
            self.write(line)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> "ChannelFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> NoReturn:
        missing("ChannelFile", name)

    def __repr__(self) -> str:
        return f"<sshlease.{type(self).__name__} of {self.channel!r}>"


class ChannelStderrFile(ChannelFile):
    """What makefile_stderr() gives."""


class ChannelStdinFile(ChannelFile):
    """Closing it ends the command's input, and so does its going: `exec_command("cat")[1].read()` comes to an end."""

    def close(self) -> None:
        super().close()
        self.channel.shutdown_write()

    def __del__(self) -> None:
        if not self._closed:
            with contextlib.suppress(Exception):  # the channel may be half gone itself
                self.close()
