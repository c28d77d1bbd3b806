# SPDX-License-Identifier: MIT
"""Fixtures of the system tests: a real sshd, a real sshleased, a bad network. Run with
    SSHLEASE_BUILD=build-asan /usr/bin/python3 -m pytest -n 2 tests/system
"""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "fault"))

pytest.register_assert_rewrite("daemon", "native", "procs", "ssh_tools", "sshd", "tunnels", "victims")

import account as account_module  # noqa: E402
import agents as agents_module    # noqa: E402
import daemon as daemon_module    # noqa: E402
import holders as holders_module  # noqa: E402
import lanes as lanes_module      # noqa: E402
import proxy as proxy_module      # noqa: E402
import ssh_tools as tools_module  # noqa: E402
import sshd as sshd_module        # noqa: E402
from victims import attack, hanging, mux_directory, victim  # noqa: E402, F401
from waiting import until         # noqa: E402

IS_ROOT = os.geteuid() == 0


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="sizes and times of the specification, where a run takes less")


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root")
    config.addinivalue_line("markers", "full: slow, or wants programs that a check does without; runs with --full")
    config.addinivalue_line("markers", "needs(program): of a full test, which fails without it")
    config.addinivalue_line("markers", "pty: needs an sshd that can give out terminals")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("full") and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="slow; --full"))
        if item.get_closest_marker("root") and not IS_ROOT:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if item.get_closest_marker("pty") and not sshd_module.gives_terminals():
            item.add_marker(pytest.mark.skip(reason="needs root where devpts is mounted without gid=tty"))


def pytest_terminal_summary(terminalreporter):
    """What tests have measured (record_property("beside", LINE)), whichever worker ran them."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    lines = [text for report in reports if report.when == "call" for name, text in report.user_properties if name == "beside"]
    if lines:
        terminalreporter.section("a good client alone -> beside an attack")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def full(request):
    return request.config.getoption("--full")


@pytest.fixture(scope="session")
def account():
    with account_module.plain() as entry:
        yield entry


@pytest.fixture(scope="session")
def keys(account):
    with tempfile.TemporaryDirectory(prefix="sshlease-keys.") as directory:
        yield sshd_module.Keys(directory)


@pytest.fixture(scope="session")
def shared_sshd(keys, account):
    server = sshd_module.Sshd(keys, account)
    yield server
    server.stop()


@pytest.fixture
def sshd(shared_sshd):
    """The worker's sshd. Nothing may be left on the far side when the test is over."""
    yield shared_sshd
    try:
        shared_sshd.await_nothing_remote()
    finally:
        shared_sshd.kill_remote()  # or every test after this one would fail with it


@pytest.fixture
def make_sshd(keys, account):
    """Starts an sshd of the test's own: make_sshd("MaxSessions 3", root=True …)."""
    servers = []

    def make(*options, **more):
        servers.append(sshd_module.Sshd(keys, account, options, **more))
        return servers[-1]
    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def root_sshd(keys, account):
    """One that lets root log in."""
    server = sshd_module.Sshd(keys, account, root=True)
    yield server
    server.stop()


@pytest.fixture
def make_proxy():
    """make_proxy(sshd) puts a bad network before a server; it begins as a good one."""
    proxies = []

    def make(server, **more):
        proxies.append(proxy_module.Proxy(server.host, server.port, **more))
        return proxies[-1]
    yield make
    for one in proxies:
        one.stop()


@pytest.fixture
def target(keys, tmp_path):
    """target(sshd, max_connections=2 …): the configuration of one target, ready to log in. `via` a proxy."""
    count = 0

    def make(server, via=None, known=None, **settings):
        nonlocal count
        count += 1
        known_hosts = tmp_path / f"known_hosts.{count}"
        port = (via or server).port
        known_hosts.write_text(server.known_hosts_line(f"[127.0.0.1]:{port}") if known is None else known)
        base = {"host": "127.0.0.1", "port": port, "user": server.user, "identity_file": keys.ed25519,
                "user_known_hosts_file": str(known_hosts)}
        return {**base, **settings}
    return make


@pytest.fixture
def make_daemon(sshd, make_sshd, make_proxy):
    """make_daemon({"targets": …}) starts one; it is ended, and its end checked, after the test and before the servers
    and proxies go, which is why it asks for them."""
    daemons = []

    def make(config=None, **more):
        start = more.pop("start", True)
        one = daemon_module.Daemon(config, start=False, **more)
        daemons.append(one)
        if start:
            one.start()
        return one
    yield make
    problems = []
    for one in reversed(daemons):
        try:
            one.stop()
        except (AssertionError, OSError) as e:
            problems.append(e)
    if problems:
        raise problems[0]


@pytest.fixture(scope="session")
def reachable():
    """Others have to be able to run the programs of this build."""
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                           daemon_module.program("sshlease"), "--version"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("the build is in a directory that other accounts cannot enter")


@pytest.fixture
def hold():
    """hold(daemon, "t", command): a client in a process of its own."""
    held = []

    def make(*args):
        held.append(holders_module.Holder(*args))
        return held[-1]
    yield make
    for one in held:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def daemon(make_daemon, sshd, target):
    """One daemon with one target `t` at the worker's sshd."""
    return make_daemon({"targets": {"t": target(sshd)}})


@pytest.fixture
def make_tools(make_daemon):
    """make_tools({"t": target(sshd)}) starts a daemon with mux sockets; ssh and its kin, ready to be run over them."""
    directories = []

    def make(targets, args=(), **config):
        directories.append(tempfile.mkdtemp(prefix="sshlease-tools."))
        mux = {"directory": os.path.join(directories[-1], "mux")}
        return tools_module.Tools(make_daemon({"mux": mux, "targets": targets, **config}, args=args),
                                  directories[-1])
    yield make
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def tools(make_tools, sshd, target):
    """The same with one target `t` at the worker's sshd."""
    return make_tools({"t": target(sshd)})


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.full] if name != "us" else []) for name in lanes_module.NAMES])
def lane(request, make_tools, sshd, keys, target, tmp_path):
    """ssh and its kin by one way: with a login each, over a real master, and over ours. The others are with --full."""
    with lanes_module.make(request.param, make_tools, sshd, keys, target, tmp_path / "lane") as one:
        yield one


@pytest.fixture
def remote_dir(account):
    """A directory that the far side's account can read and write, and we too."""
    directory = tempfile.mkdtemp(prefix="sshlease-remote.")
    os.chmod(directory, 0o755)
    os.chown(directory, account.pw_uid, account.pw_gid)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def agent(tmp_path):
    """The socket of an ssh-agent without keys."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: agents_module.answers(path), "the agent's socket")
    yield path
    process.terminate()
    process.wait()


@pytest.fixture
def password(account, tmp_path):
    """The account's, as a setting."""
    secret = account_module.password()
    if secret is None:
        pytest.skip("the account was not made by these tests, so its password is not known")
    path = tmp_path / "password"
    path.write_text(secret)
    path.chmod(0o600)
    return {"file": str(path)}
