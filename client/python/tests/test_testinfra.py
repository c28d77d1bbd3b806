# SPDX-License-Identifier: MIT
"""The testinfra backend: suites and modules of testinfra over the pool, and what there is without testinfra."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester, monkeypatch, python_env, daemon):
    """suite(text, *options): runs pytest over a test file with that text."""
    for name, value in {**python_env, "SSHLEASE_SOCKET": daemon.path}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(text, *options):
        pytester.makepyfile(test_it=text)
        return pytester.run(sys.executable, "-m", "pytest", "-p", "no:sshlease", "-p", "sshlease.pytest_plugin", "-p",
                            "no:cacheprovider", *options, timeout=60)
    return run


SUITE = """
import pytest

def test_modules(host):
    assert host.file("/etc/passwd").exists and host.file("/etc/passwd").user == "root"
    assert host.user().name
    assert host.system_info.type == "linux"
    assert host.package("openssh-server").is_installed and host.group("root").gid == 0
    assert not host.file("/nowhere").exists

def test_quoting_and_bytes(host):
    assert host.run("printf %s", "a b;'$x\\n").stdout == "a b;'$x\\n"
    assert host.run("printf '\\\\377\\\\0'").stdout_bytes == b"\\xff\\0"
    assert host.check_output("echo grün") == "grün"
    bad = host.run("echo out; echo err >&2; exit 3")
    assert (bad.rc, bad.stdout, bad.stderr, bad.failed) == (3, "out\\n", "err\\n", True)

@pytest.mark.parametrize("number", range(8))
def test_many(host, number):
    assert host.check_output("echo %s", str(number)) == str(number)
"""


@pytest.mark.testinfra
def test_a_suite_by_option(suite, daemon):
    result = suite(SUITE, "--hosts=sshlease://t", "-v")
    result.assert_outcomes(passed=10)
    assert "test_modules[sshlease://t]" in result.stdout.str()
    daemon.await_connections("t", idle=1, leased=0)


@pytest.mark.testinfra
def test_more_workers_than_connections(suite, make_daemon, sshd, target, monkeypatch):
    """No worker keeps a connection from the others: with one for four workers, nobody waits in vain."""
    one = make_daemon({"targets": {"t": target(sshd, max_connections=1)}})
    monkeypatch.setenv("SSHLEASE_SOCKET", one.path)
    options = ["-p", "xdist", "-n", "4", f"--sshlease-socket={one.path}"]
    suite(SUITE, "--hosts=sshlease://t?timeout=20", *options).assert_outcomes(passed=10)
    assert one.connections("t")["idle"] == 1


@pytest.mark.testinfra
def test_get_host(suite, daemon):
    suite("""
import testinfra

HOST = testinfra.get_host("sshlease://t")

def test_it():
    assert HOST.backend.get_connection_type() == "sshlease" and HOST.backend.get_hostname() == "t"
    assert HOST.check_output("echo hello") == "hello"
""").assert_outcomes(passed=1)


@pytest.mark.testinfra
def test_a_failing_test_shows_what_was_run(suite):
    result = suite("def test_it(host): assert host.run('exit 3').rc == 0", "--hosts=sshlease://t")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*commands run under this test's leases*", "t: exit 3 * s  exit 3"])


@pytest.mark.testinfra
def test_sudo_is_testinfra_s(suite):
    """What runs is what testinfra makes of it; without sudo on the far side that fails there, not here."""
    suite("def test_it(host): assert 'sudo /bin/sh -c' in host.backend.get_command('id')",
          "--hosts=sshlease://t?sudo=true").assert_outcomes(passed=1)


@pytest.mark.testinfra
def test_outside_of_pytest(daemon, python_env):
    said = subprocess.run([sys.executable, "-c", """if True:
        import sshlease.testinfra, testinfra
        print(testinfra.get_host("sshlease://t").check_output("echo hello"))
    """], env={**python_env, "SSHLEASE_SOCKET": daemon.path}, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "hello\n"


@pytest.mark.testinfra
def test_no_daemon(suite, tmp_path):
    nobody = tmp_path / "nobody.sock"
    options = ["--hosts=sshlease://t", f"--sshlease-socket={nobody}"]
    text = "def test_it(host): host.run('true')"
    suite(text, *options).assert_outcomes(failed=1)
    suite(text, *options, "--sshlease-no-daemon=skip").assert_outcomes(skipped=1)


def test_without_testinfra_it_can_be_imported(python_env):
    subprocess.run([sys.executable, "-c", """if True:
        import sys
        sys.modules["testinfra"] = sys.modules["testinfra.backend"] = None  # as if it were not installed
        import sshlease.testinfra, sshlease.pytest_plugin
        assert sshlease.testinfra.register() is False
    """], env=python_env, check=True, timeout=60)
