# SPDX-License-Identifier: MIT
"""The pytest plugin: leases for tests, given back whatever a test does, and labelled with the test in `sshlease status`.

    def test_kernel(ssh_lease):
        web = ssh_lease("web1")
        assert web.run("uname -s").stdout == "Linux\\n"

`@pytest.mark.sshlease("web1")`, the option --sshlease-target or the ini setting sshlease_target say what ssh_lease() means.
A failing test's report shows what was run under its leases. Needs nothing from pytest-xdist and works the same under it:
the workers share the daemon's pools and queue there, first come first served.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Callable, Dict, Generator, Iterable, Iterator, List, NoReturn, Optional, Tuple, Union

import pytest

from . import _daemon, _label, testinfra
from ._connect import socket_for
from ._errors import BY_ITSELF, NoDaemon, SshleaseError, hidden
from ._history import History, Record
from ._lease import Lease

WAIT_S = 300.0       # for a connection, unless said otherwise: many workers may share few connections
HEADER_WAIT_S = 2.0  # for what the header tells about the daemon
SHOWN_COMMANDS = 50  # the newest so many of a failed test
SHOWN_CHARS = 160    # of each

__all__ = ["LeaseFactory", "LeftRunningWarning"]


class LeftRunningWarning(pytest.PytestWarning):
    """A test was over while commands of its still ran under a lease."""


# --- settings: each is a command line option and an ini setting ---

class _Setting:
    def __init__(self, name: str, kind: Callable[[str], Any], default: Any, text: str, **option: Any) -> None:
        self.option = "--sshlease-" + name
        self.dest = self.ini = "sshlease_" + name.replace("-", "_")
        self.kind, self.default, self.text, self.more = kind, default, text, option

    def add(self, group: Any, parser: pytest.Parser) -> None:
        group.addoption(self.option, dest=self.dest, default=None, help=self.text, **self.more)
        parser.addini(self.ini, self.text, default="")

    def is_option(self, config: pytest.Config) -> bool:
        """Whether the command line has it."""
        return config.getoption(self.dest, None) is not None

    def value(self, config: pytest.Config) -> Any:
        given = config.getoption(self.dest) if self.is_option(config) else config.getini(self.ini)
        if given in (None, ""):
            return self.default
        try:
            return self.kind(given)
        except ValueError as error:
            raise pytest.UsageError(f"{self.option} (or the ini setting {self.ini}) is '{given}': {error}") from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ValueError("give a number of seconds above 0, such as 30 or 0.5")
    return value


def _flag(text: Union[str, bool]) -> bool:
    if isinstance(text, bool):
        return text
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("give yes or no")


def _skip_or_fail(text: str) -> str:
    if text not in ("skip", "fail"):
        raise ValueError("give skip or fail")
    return text


_TARGET = _Setting("target", str, None, "what ssh_lease() leases where neither the call nor a marker says", metavar="NAME")
_SOCKET = _Setting("socket", str, None, "the daemon's socket, for everything the tests start, too", metavar="PATH")
_TIMEOUT = _Setting("timeout", _seconds, WAIT_S, f"how long to wait for a connection (default: {WAIT_S:g})",
                    metavar="SECONDS")
_LEASE_TIMEOUT = _Setting("lease-timeout", _seconds, None, "how long a lease may go unused (default: the target's setting)",
                          metavar="SECONDS")
_NO_DAEMON = _Setting("no-daemon", _skip_or_fail, "fail", "what becomes of tests when no daemon runs: skip or fail (default)",
                      metavar="skip|fail")
_AUTOSTART = _Setting("autostart", _flag, False, "use a daemon of this user's own, which is started when none "
                      "runs", action="store_const",
                      const=True)
_SETTINGS = (_TARGET, _SOCKET, _TIMEOUT, _LEASE_TIMEOUT, _NO_DAEMON, _AUTOSTART)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sshlease", "sshlease: pooled SSH connections (also as ini settings sshlease_*)")
    for setting in _SETTINGS:
        setting.add(group, parser)


# --- the session ---

_ENVIRONMENT = pytest.StashKey[Optional[str]]()
_BEGAN = pytest.StashKey[float]()
_FACTORIES = pytest.StashKey[List["LeaseFactory"]]()  # of a test, and of the session


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    testinfra.register()  # a conftest may already ask for hosts


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sshlease(target, *, timeout=None, lease_timeout=None): what ssh_lease() leases in "
                            "this test, and how long it may wait and last")
    testinfra.register()
    for setting in _SETTINGS:
        setting.value(config)  # a wrong one is told now, not by the first test that needs it
    factories: List[LeaseFactory] = []
    config.stash[_FACTORIES] = factories
    path = _SOCKET.value(config)
    if path is not None:
        config.stash[_ENVIRONMENT] = os.environ.get("SSHLEASE_SOCKET")
        beside = config.invocation_params.dir
        if config.inipath is not None and not _SOCKET.is_option(config):
            beside = config.inipath.parent
        # In the environment it also reaches testinfra, code under test and the programs that tests start.
        os.environ["SSHLEASE_SOCKET"] = os.path.join(beside, os.path.expanduser(path))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _ENVIRONMENT in config.stash:
        before = config.stash[_ENVIRONMENT]
        del config.stash[_ENVIRONMENT]
        if before is None:
            os.environ.pop("SSHLEASE_SOCKET", None)
        else:
            os.environ["SSHLEASE_SOCKET"] = before


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if _AUTOSTART.value(session.config) and not session.config.option.collectonly:
        with contextlib.suppress(SshleaseError):  # the tests that need one will say it
            _daemon.ensure()


def pytest_report_header(config: pytest.Config) -> str:
    try:
        path = socket_for(None, own=_AUTOSTART.value(config))
        return f"sshlease: {_daemon.name_and_version(path, HEADER_WAIT_S)} at {path}"
    except SshleaseError as error:
        return f"sshlease: {_advice(error)}"


def _advice(error: SshleaseError) -> str:
    return str(error).replace(BY_ITSELF, "or run pytest with --sshlease-autostart")


# --- the fixtures ---

class LeaseFactory:
    """`ssh_lease` and `ssh_session_lease`: call it with a target's name for a lease."""

    def __init__(self, request: pytest.FixtureRequest, shared: bool) -> None:
        self._config = request.config
        self._node = request.node
        self._shared = shared
        self._leases: List[Lease] = []
        marker = None if shared else request.node.get_closest_marker("sshlease")
        self._marked = _marked(marker) if marker is not None else {}

    def __call__(self, target: Optional[str] = None, *, timeout: Optional[float] = None,
                 lease_timeout: Optional[float] = None, label: Optional[str] = None) -> Lease:
        """A lease of `target` (else the marker's, else --sshlease-target's), to be used with `with`, closed by hand, or
        left to the fixture. `ssh_session_lease` answers the lease it has, where it has one. Times are in seconds."""
        __tracebackhide__ = hidden
        target = target or self._marked.get("target") or _TARGET.value(self._config)
        if not target:
            raise pytest.UsageError("which target? Say ssh_lease(\"web1\"), mark the test with @pytest.mark.sshlease(\"web1\"), "
                                    "or set --sshlease-target or sshlease_target")
        if self._shared:
            for held in self._leases:
                if held.target == target and not held.closed:
                    _look(held)
                    if not held.over:
                        return held
        held = Lease(
            target,
            timeout=_first(timeout, self._marked.get("timeout"), _TIMEOUT.value(self._config)),
            lease_timeout=_first(lease_timeout, self._marked.get("lease_timeout"), _LEASE_TIMEOUT.value(self._config)),
            label=self._label() if label is None else label,
            autostart=_AUTOSTART.value(self._config))
        self._leases.append(held)
        return held

    def _label(self) -> str:
        return _label.default() if self._shared else _label.of_test(self._node.nodeid)

    @property
    def leases(self) -> Tuple[Lease, ...]:
        """All it has given out, the closed ones, too."""
        return tuple(self._leases)

    def close(self) -> None:
        """Ends what is left. Warns of what still ran."""
        left = []
        for held in self._leases:
            left += [f"'{_short(command)}' on {held.target}" for command in _left_running(held)]
            held.close()
        if left:
            self._node.warn(LeftRunningWarning(f"nobody waited for the end of {', '.join(left)}; it was ended, and the "
                                               "connection with it"))


def _look(held: Lease) -> None:
    """Takes what the daemon has said meanwhile: that a command has ended, or the lease."""
    held._link.look()


def _left_running(held: Lease) -> List[str]:
    """Commands that nobody waited for. What has ended meanwhile, though nobody has looked, did not go wrong."""
    _look(held)
    return [record.command for record in held.history if record.abandoned or (record.ended is None and not held.closed)]


def _first(*values: Optional[float]) -> Optional[float]:
    return next((value for value in values if value is not None), None)


def _marked(marker: pytest.Mark) -> Dict[str, Any]:
    def checked(target: Optional[str] = None, *, timeout: Optional[float] = None,
                lease_timeout: Optional[float] = None) -> Dict[str, Any]:
        return {"target": target, "timeout": timeout, "lease_timeout": lease_timeout}
    try:
        return checked(*marker.args, **marker.kwargs)
    except TypeError as error:
        raise pytest.UsageError(f"@pytest.mark.sshlease: {str(error).partition('() ')[2]}; it is "
                                "sshlease(target, *, timeout=None, lease_timeout=None)") from None


@pytest.fixture
def ssh_lease(request: pytest.FixtureRequest) -> Iterator[LeaseFactory]:
    """Call it for a lease: ssh_lease("web1"). Each call takes one of its own; what the test does not close is closed
    when it is over, however it ends."""
    factory = LeaseFactory(request, shared=False)
    request.node.stash.setdefault(_FACTORIES, []).append(factory)
    yield factory
    factory.close()


@pytest.fixture(scope="session")
def ssh_session_lease(request: pytest.FixtureRequest) -> Iterator[LeaseFactory]:
    """Call it for a lease that the session keeps: ssh_session_lease("web1"). One for each target and each xdist worker;
    a new one where the old one is over."""
    factory = LeaseFactory(request, shared=True)
    request.config.stash[_FACTORIES].append(factory)
    yield factory
    factory.close()


# --- the reports ---

@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, None]:
    item.stash[_BEGAN] = time.monotonic()
    yield
    # Items live as long as the session does; what their tests ran is of no use any more.
    if _FACTORIES in item.stash:
        del item.stash[_FACTORIES]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    if call.excinfo is not None and isinstance(call.excinfo.value, NoDaemon):
        call.excinfo = _without_daemon(_advice(call.excinfo.value), _NO_DAEMON.value(item.config))
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        text = _commands(item)
        if text:
            report.sections.append(("sshlease: commands run under this test's leases", text))


def _without_daemon(text: str, do: str) -> Any:
    """The exception by which pytest knows a test to skip or fail, in one line instead of a traceback."""
    def end() -> NoReturn:
        if do == "skip":
            pytest.skip(text)
        pytest.fail(text, pytrace=False)
    return pytest.CallInfo.from_call(end, "call").excinfo


def _commands(item: pytest.Item) -> str:
    began = item.stash.get(_BEGAN, 0.0)
    shown: List[Tuple[str, Record]] = []
    forgotten = 0
    for name, history in _histories(item):
        shown += [(name, record) for record in history if record.ended is None or record.ended >= began]
        forgotten += history.forgotten
    shown.sort(key=lambda one: one[1].started)
    more = len(shown) > SHOWN_COMMANDS or (forgotten > 0 and len(shown) >= SHOWN_COMMANDS)
    lines = [f"{name}: {record.outcome():<9} {record.seconds():7.2f} s  {_short(record.command)}{_reason(record)}"
             for name, record in shown[-SHOWN_COMMANDS:]]
    return "\n".join((["(the newest; there were more)"] if more else []) + lines)


def _reason(record: Record) -> str:
    return f"  ({record.reason})" if record.reason else ""


def _short(command: str) -> str:
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in command)
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"


def _histories(item: pytest.Item) -> Iterable[Tuple[str, History]]:
    """(target, history) of every lease this test had to do with: of our fixtures, and those among the values of its
    own fixtures: a lease, an SSHClient in paramiko's shape, a testinfra host."""
    found: Dict[int, Tuple[str, History]] = {}
    factories = item.config.stash[_FACTORIES] + item.stash.get(_FACTORIES, [])
    for value in [*(held for factory in factories for held in factory.leases),
                  *getattr(item, "funcargs", {}).values()]:
        for one in (value, getattr(value, "backend", None) if type(value).__module__ == "testinfra.host" else None):
            history = getattr(one, "history", None) if type(one).__module__.startswith("sshlease.") else None
            if isinstance(history, History):
                found[id(history)] = (str(getattr(one, "target", "?")), history)
    return found.values()
