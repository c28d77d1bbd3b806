# SPDX-License-Identifier: MIT
"""A lease, for blocking calls."""

from __future__ import annotations

import sys
import time
import weakref
from typing import Any, Mapping, Optional, Tuple, overload

from . import _label
from . import _wire as wire
from ._autostart import start_daemon
from ._common import (ANSWER_SECONDS, CLOSE_SECONDS, END_SECONDS, PROGRAM, Command, Input, LeaseBase, SocketPath, Terminal,
                      Waiting, abandoned, caller, carry, command_line, encoded, environment, milliseconds, no_orderly_end,
                      seconds, terminal, timed_out)
from ._connect import connect, socket_for
from ._errors import NO_LEASE, TIMEOUT, DaemonGone, LeaseEnded, NoDaemon, SshleaseError, error_for, hidden
from ._link import Link
from ._patience import TELL_SECONDS, Patience
from ._process import DEVNULL, PIPE, Handle, Process, bins_for, give_input
from ._result import Result
from ._session import STREAM_WINDOW, Session, Stream
from ._wire import Pty

__tracebackhide__ = hidden


class Lease(LeaseBase):
    """A leased connection to `target`, until close(), the end of a `with`, the end of this object or of this process,
    whichever comes first.

    Any number of threads may use it at once; each stream they open runs on the one connection, as many at once as the
    target's `streams` setting and the server's MaxSessions allow. After a fork() it belongs to the parent: in the child
    every call raises.

    The lease lasts `lease_timeout` from the last renewal. Every call renews it when a third of that is over, and so does a
    call that waits, however long. Only a lease on which nothing is called for longer than that runs out: the next call
    raises Expired. renew() sets the time anew without doing anything else.
    """

    def __init__(self, target: str, *, timeout: Optional[float] = None, lease_timeout: Optional[float] = None,
                 label: Optional[str] = None, socket: SocketPath = None, autostart: bool = False,
                 on_waiting: Optional[Waiting] = None) -> None:
        """Waits until the lease is granted. Times are in seconds, None is the target's setting.

        timeout: how long to wait for a connection at most. lease_timeout: how long the lease lasts unless renewed. label:
        shown by `sshlease status`; None is the test's name under pytest, else nothing. socket: the daemon's, instead of the
        default. autostart: use a daemon of the user's own, even where the system has one, and start it if none is listening
        ($SSHLEASE_SOCKET or `socket` say where else). on_waiting(position, seconds, reason)
        is called when the wait gets long, perhaps again later; position is 0 while the daemon is being restarted, which is
        waited for within `timeout`.

        Raises NoDaemon, Timeout, Busy, Refused (Unreachable, HostKeyError, AuthenticationError), DaemonGone.
        """
        self.target = target
        self.label = label = _label.default() if label is None else label
        timeout = left = seconds("timeout", timeout)
        path, where = socket_for(socket, autostart, target), caller()
        patience = Patience(path, timeout)
        while True:
            session = Session(target)
            session.start(PROGRAM, milliseconds("timeout", left), milliseconds("lease_timeout", lease_timeout), label)
            try:
                self._ask(session, path, autostart, patience, on_waiting, where)
                return
            except DaemonGone as e:  # nothing was sent
                pause = patience.pause(e)
            time.sleep(pause)
            left = patience.left()

    def _ask(self, session: Session, path: str, autostart: bool, patience: Patience, on_waiting: Optional[Waiting],
             where: Tuple[str, int]) -> None:
        try:
            sock = connect(path, self.target)
        except NoDaemon:
            if not autostart:
                raise
            sock = start_daemon(path, self.target)
        self._session = session
        self._link = link = Link(sock, session)
        self._finalizer = weakref.finalize(self, abandoned, link.drop, self.target, where)
        try:
            self._await_grant(path, patience, on_waiting)
        except BaseException:
            self._finalizer.detach()
            link.close()
            raise

    def _await_grant(self, path: str, patience: Patience, on_waiting: Optional[Waiting]) -> None:
        session, link, now = self._session, self._link, time.monotonic()
        greeted = link.wait(lambda: bool(session.daemon) or session.is_over(), now + ANSWER_SECONDS)
        deadline = None if patience.deadline is None else patience.deadline + ANSWER_SECONDS
        told = 0
        while greeted:
            while told < len(session.waiting):
                if on_waiting is not None:
                    on_waiting(*session.waiting[told])
                told += 1
            if session.is_decided():
                break
            if session.leaving is not None:
                self._await_end(patience, on_waiting)
                break
            greeted = link.wait(lambda: session.has_news(told), deadline)
        if not greeted and not session.is_over():
            raise error_for(TIMEOUT, f"sshleased at {path} does not answer", target=self.target, unsent=True)
        if session.is_over():
            raise session.error()

    def _await_end(self, patience: Patience, on_waiting: Optional[Waiting]) -> None:
        """The daemon is shutting down: the next one is asked when it has ended."""
        session, link = self._session, self._link
        assert session.leaving is not None
        if on_waiting is not None and patience.is_long():
            if not link.wait(session.is_over, time.monotonic() + TELL_SECONDS):
                on_waiting(0, time.monotonic() - patience.began, session.leaving[1])
        if not link.wait(session.is_over, patience.deadline):
            raise patience.late(session.leaving[1], self.target)

    def renew(self, lease_timeout: Optional[float] = None) -> float:
        """The lease lasts for `lease_timeout` seconds from now (None: as when it was asked for). How long it really lasts,
        which is less close to its longest time. Raises why it is over, if it is."""
        session, link = self._session, self._link
        with link.lock:
            rid = session.ask_renewal(milliseconds("lease_timeout", lease_timeout))
        try:
            answered = link.wait(lambda: session.renewed[rid] is not None, time.monotonic() + ANSWER_SECONDS)
        finally:
            answer = session.renewed.pop(rid)
        if not answered:
            raise error_for(TIMEOUT, "sshleased does not answer a renewal", target=self.target)
        if isinstance(answer, tuple):
            raise session.error(session.why or answer)
        assert answer is not None
        return answer

    def close(self) -> None:
        """Gives the connection back: to the pool if every command has ended by itself, else whatever they have left running
        is ended, and the connection closed. Twice is fine, and so is closing a lease that is over. Raises nothing, and waits
        for a daemon that does not answer for 5 seconds only."""
        if self._finalizer.detach() is None:
            return
        session, link = self._session, self._link
        if sys.is_finalizing():
            link.drop()  # a thread that is no more may still hold the lock
            return
        try:
            if session.streams and not session.gave_up:
                # One whose output has ended is about to say how it ended, and then the connection is as good as new.
                link.wait(session.nothing_ends, time.monotonic() + END_SECONDS)
            if session.gave_up:
                return
            with link.lock:
                session.release()
                link.changed()
            link.wait(session.is_over, time.monotonic() + CLOSE_SECONDS)
        finally:
            link.close()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- commands ---

    @overload
    def run(self, command: Command, *, input: Optional[Input] = ..., timeout: Optional[float] = ...,
            env: Optional[Mapping[str, str]] = ..., pty: Terminal = ..., check: bool = ...,
            encoding: str = ..., errors: str = ...) -> Result[str]: ...

    @overload
    def run(self, command: Command, *, input: Optional[Input] = ..., timeout: Optional[float] = ...,
            env: Optional[Mapping[str, str]] = ..., pty: Terminal = ..., check: bool = ...,
            encoding: None, errors: str = ...) -> Result[bytes]: ...

    def run(self, command: Command, *, input: Optional[Input] = None, timeout: Optional[float] = None,
            env: Optional[Mapping[str, str]] = None, pty: Terminal = False, check: bool = False,
            encoding: Optional[str] = "utf-8", errors: str = "replace") -> Result[Any]:
        """Runs a command to its end and collects what it writes.

        command: a command line for the remote user's shell, or a list, which is quoted for it. input: its standard input
        (None: empty). timeout: in seconds; then the command is ended on the far side, and CommandTimeout raised. env:
        variables for it; the target's send_env and the server decide which of them arrive, silently. pty: run it on a
        terminal: True, (columns, lines), or a Pty; then standard error comes with standard output. check: raise
        CommandFailed unless it exits with 0. encoding: of input and output; None for bytes.

        Raises also Refused, Busy (too many streams), and why the lease is over: Expired, Revoked, ConnectionLost,
        DaemonGone. A command of which no orderly end was seen raises; it never looks like success.
        """
        line = command_line(command)
        data = None if input is None else encoded(input, encoding, errors)
        timeout = seconds("timeout", timeout)
        out, err = bytearray(), bytearray()
        session, link = self._session, self._link
        deadline = None if timeout is None else time.monotonic() + timeout
        with link.lock:
            stream = session.open(wire.EXEC, line, terminal(pty), environment(env), bins=(out, err), collect=True,
                                  eof=not data)
        try:
            if data:
                give_input(link, stream, data, deadline)
                with link.lock:
                    session.send_eof(stream)
            if not link.wait(stream.is_over, deadline):
                raise timed_out(line, timeout, self.target, out, err, encoding)
        finally:
            if not stream.over:
                link.discard(stream)
        if stream.why is not None or stream.how == wire.END_UNKNOWN:
            raise carry(self._no_result(stream), out, err, encoding)
        result: Result[Any] = Result(line, self.target, stream, bytes(out), bytes(err), encoding, errors)
        return result.check() if check else result

    def _no_result(self, stream: Stream) -> SshleaseError:
        """Why the stream has no result. One without an orderly end may have none because the lease is over, which the
        daemon says only then: asking for a renewal brings it."""
        if stream.why is not None:
            return self._session.error(stream.why)
        try:
            self.renew()
        except LeaseEnded as e:
            if e.code != NO_LEASE:
                return e
        except SshleaseError:
            pass
        return no_orderly_end(stream, self.target)

    def output(self, command: Command, *, input: Optional[Input] = None, timeout: Optional[float] = None,
               env: Optional[Mapping[str, str]] = None, pty: Terminal = False,
               encoding: str = "utf-8", errors: str = "replace") -> str:
        """What the command writes to its standard output. Raises CommandFailed unless it exits with 0, and what run()
        raises."""
        return self.run(command, input=input, timeout=timeout, env=env, pty=pty, check=True, encoding=encoding,
                        errors=errors).stdout

    def popen(self, command: Command, *, stdin: int = PIPE, stdout: int = PIPE, stderr: int = PIPE,
              env: Optional[Mapping[str, str]] = None, pty: Terminal = False,
              encoding: Optional[str] = None, errors: str = "strict", window: int = STREAM_WINDOW) -> Process:
        """Starts a command and gives file objects for its input and output, as subprocess.Popen does.

        stdin: PIPE, or DEVNULL for none. stdout: PIPE or DEVNULL. stderr: PIPE, DEVNULL or STDOUT. encoding: of all three;
        None for bytes. window: bytes of output that may wait here unread, at most 16777216. The rest as for run().
        Returns when the server has accepted the command; raises what run() does.
        """
        return self._start(wire.EXEC, command_line(command), stdin, stdout, stderr, env, terminal(pty), encoding, errors,
                           window)

    def shell(self, *, pty: Terminal = True, env: Optional[Mapping[str, str]] = None,
              encoding: Optional[str] = None, errors: str = "strict") -> Process:
        """Starts the remote user's login shell; what it is to do is written to its stdin. On a terminal, unless pty=False:
        then its errors come with its output, and what is written to it comes back as an echo."""
        term = terminal(pty)
        return self._start(wire.SHELL, "", PIPE, PIPE, PIPE, env, term, encoding, errors, STREAM_WINDOW)

    def subsystem(self, name: str, *, window: int = STREAM_WINDOW) -> Process:
        """Starts a subsystem of the server ("sftp"), in bytes."""
        return self._start(wire.SUBSYSTEM, name, PIPE, PIPE, DEVNULL, None, None, None, "strict", window)

    def _start(self, kind: int, command: str, stdin: int, stdout: int, stderr: int, env: Optional[Mapping[str, str]],
               pty: Optional[Pty], encoding: Optional[str], errors: str, window: int) -> Process:
        if stdin not in (PIPE, DEVNULL):
            raise ValueError("stdin is PIPE or DEVNULL")
        bins = bins_for(stdout, stderr)
        handle = self._open(kind, command, pty, env, bins, window, eof=stdin == DEVNULL)
        return Process(handle, command, stdin == PIPE, bins, encoding, errors)

    def _open(self, kind: int, command: str, pty: Optional[Pty], env: Optional[Mapping[str, str]],
              bins: Tuple[Optional[bytearray], Optional[bytearray]], window: int, eof: bool = False) -> Handle:
        """A stream that the server has accepted."""
        if not 1024 <= window <= wire.WINDOW_MAX:
            raise ValueError(f"the window has {window} bytes; it may have 1024 to {wire.WINDOW_MAX}")
        link = self._link
        with link.lock:
            stream = self._session.open(kind, command, pty, environment(env), window=window, bins=bins, collect=False,
                                        eof=eof)
        handle = Handle(self, link, stream)
        link.wait(stream.is_decided)
        if stream.why is not None:
            raise self._session.error(stream.why)
        return handle

