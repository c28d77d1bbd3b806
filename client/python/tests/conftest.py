# SPDX-License-Identifier: MIT
"""Fixtures of the Python package's tests: those of tests/system (a real sshd, a real daemon), and the package from the
tree. Run with
    SSHLEASE_BUILD=build-asan /usr/bin/python3 -m pytest -p no:sshlease -n 2 client/python/tests
and as if paramiko and testinfra were not installed:
    PYTHONPATH=client/python/tests/absent PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 SSHLEASE_BUILD=build-asan \
        /usr/bin/python3 -m pytest -p xdist -n 2 -m "not paramiko and not testinfra and not once" client/python/tests
"""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.abspath(os.path.join(HERE, "..", "src"))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
EXTRAS = ("paramiko", "testinfra")
HANGS_SECONDS = 90

sys.path[:0] = [SOURCE, os.path.join(ROOT, "tests", "system")]

if "sshlease" in sys.modules:
    raise pytest.UsageError("the sshlease that is installed is loaded already: run this with -p no:sshlease")

_spec = importlib.util.spec_from_file_location("system_fixtures", os.path.join(ROOT, "tests", "system", "conftest.py"))
_system = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_system)

import procs  # noqa: E402  # once the line above has said that its assertions are to be explained

account, keys, shared_sshd, sshd = _system.account, _system.keys, _system.shared_sshd, _system.sshd
make_sshd, root_sshd, make_proxy = _system.make_sshd, _system.root_sshd, _system.make_proxy
target, make_daemon, daemon, full = _system.target, _system.make_daemon, _system.daemon, _system.full
pytest_addoption = _system.pytest_addoption


def pytest_configure(config):
    _system.pytest_configure(config)
    for name in EXTRAS:
        config.addinivalue_line("markers", f"{name}: needs {name}")
    config.addinivalue_line("markers", "once: takes its time, and what else is installed cannot matter to it")


def _installed(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def pytest_collection_modifyitems(config, items):
    _system.pytest_collection_modifyitems(config, items)
    for name in EXTRAS:
        marked = [item for item in items if item.get_closest_marker(name)]
        if marked and not _installed(name):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=f"needs {name}"))


@pytest.fixture
def python_env():
    """The environment of a Python program that a test starts: with the package from the tree."""
    paths = [SOURCE, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(autouse=True)
def watchdog():
    """What these tests look for is a call that hangs: it gets an exception then, and the test its clean-up."""
    def bark(*_):
        raise AssertionError(f"the test was not over after {HANGS_SECONDS} s")
    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(HANGS_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def silent(make_daemon, keys, tmp_path):
    """The socket of a daemon whose target `t` is a server that says of no command how it ended."""
    with subprocess.Popen([sys.executable, os.path.join(HERE, "silent_server.py"), keys.host], stdout=subprocess.PIPE,
                          text=True) as server:
        try:
            port = int(server.stdout.readline())
            known_hosts = tmp_path / "known_hosts.silent"
            known_hosts.write_text(f"[127.0.0.1]:{port} {' '.join(keys.public(keys.host).split()[:2])}\n")
            yield make_daemon({"targets": {"t": {
                "host": "127.0.0.1", "port": port, "user": "u", "identity_file": keys.ed25519,
                "user_known_hosts_file": str(known_hosts)}}}).path
        finally:
            server.kill()


@pytest.fixture
def lease(daemon):
    """lease(…): a lease on the daemon's target `t`, closed when the test is over."""
    import sshlease
    leases = []

    def make(name="t", **options):
        leases.append(sshlease.lease(name, socket=daemon.path, **options))
        return leases[-1]
    yield make
    for one in leases:
        one.close()


@pytest.fixture
def c(lease):
    """A lease."""
    return lease()


@pytest.fixture
def python(python_env):
    """python(code, *arguments, **popen): runs code in an interpreter of its own, with pipes."""
    started = []

    def start(code, *arguments, **more):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": python_env, **more}
        words = procs.interruptible([sys.executable, "-c", code, *map(str, arguments)])
        started.append(subprocess.Popen(words, text=True, **pipes))
        return started[-1]
    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate()
