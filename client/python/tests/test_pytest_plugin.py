# SPDX-License-Identifier: MIT
"""The pytest plugin, by suites that run under a pytest of their own against a real sshd and daemon."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

import procs
from daemon import program, read_line
from waiting import until

pytest_plugins = ["pytester"]

NO_DAEMON = "no sshleased is listening"


@pytest.fixture
def pool(make_daemon, sshd, target):
    """A daemon with targets `t` and `u`, of two connections each."""
    settings = {"max_connections": 2, "kill_grace": "300ms"}
    return make_daemon({"targets": {"t": target(sshd, **settings), "u": target(sshd, **settings)}})


class Suite:
    """Runs pytest over a test file in a process of its own."""

    def __init__(self, pytester, monkeypatch, python_env):
        self.pytester = pytester
        for name, value in python_env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        self.monkeypatch = monkeypatch

    def at(self, path):
        self.monkeypatch.setenv("SSHLEASE_SOCKET", str(path))
        return self

    def write(self, text, name="test_it"):
        self.pytester.makepyfile(**{name: textwrap.dedent(text)})
        return self

    def words(self, *args):
        # Not the one that is installed, nor what pip has left beside the sources.
        return [sys.executable, "-m", "pytest", "-p", "no:sshlease", "-p", "sshlease.pytest_plugin", "-p",
                "no:cacheprovider", *args]

    def run(self, *args, timeout=60):
        return self.pytester.run(*self.words(*args), timeout=timeout)

    def start(self, *args):
        return subprocess.Popen(procs.interruptible(self.words(*args)), cwd=self.pytester.path, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, start_new_session=True)


@pytest.fixture
def suite(pytester, monkeypatch, python_env):
    return Suite(pytester, monkeypatch, python_env)


@pytest.fixture
def absent(tmp_path):
    return tmp_path / "nobody.sock"


HOSTNAME = """
    def test_it(ssh_lease):
        assert ssh_lease("t").run("echo hello").stdout == "hello\\n"
"""


# --- what is leased ---

def test_a_test_leases_runs_and_gives_back(suite, pool):
    suite.at(pool.path).write(HOSTNAME).run().assert_outcomes(passed=1)
    pool.await_connections("t", idle=1, leased=0)


def test_header(suite, pool, absent):
    suite.write(HOSTNAME)
    suite.at(pool.path).run().stdout.fnmatch_lines([f"sshlease: sshleased {pool.status()['version']} at {pool.path}"])
    suite.at(absent).run("--collect-only").stdout.fnmatch_lines([f"sshlease: {NO_DAEMON} at {absent}*sshleased --user*"])


@pytest.mark.once
def test_the_header_does_not_wait_for_a_daemon_that_hangs(suite, pool):
    pool.signal(signal.SIGSTOP)
    suite.at(pool.path).write("def test_it(): pass").run(timeout=30).assert_outcomes(passed=1)


@pytest.mark.parametrize("options, ini", [
    (["--sshlease-target", "t"], ""),
    ([], "sshlease_target = t"),
    (["--sshlease-target", "t"], "sshlease_target = nowhere"),
])
def test_the_default_target(suite, pool, options, ini):
    suite.pytester.makeini(f"[pytest]\n{ini}\n")
    suite.at(pool.path).write("""
        import pytest

        def test_default(ssh_lease):
            assert ssh_lease().target == "t"

        @pytest.mark.sshlease("u", lease_timeout=20)
        def test_marked(ssh_lease):
            assert (ssh_lease().target, ssh_lease("t").target) == ("u", "t")
    """).run(*options).assert_outcomes(passed=2)


def test_without_a_target_it_says_how_to_name_one(suite, pool):
    result = suite.at(pool.path).write("def test_it(ssh_lease): ssh_lease()").run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*which target?*ssh_lease(\"web1\")*--sshlease-target*"])


@pytest.mark.parametrize("marker, wrong", [("'t', 'u'", "*takes*argument*"), ("'t', time_out=3", "*'time_out'*")])
def test_a_wrong_marker(suite, pool, marker, wrong):
    result = suite.at(pool.path).write(f"""
        import pytest

        @pytest.mark.sshlease({marker})
        def test_it(ssh_lease):
            pass
    """).run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*@pytest.mark.sshlease: {wrong}"])


@pytest.mark.parametrize("option, value", [("timeout", "soon"), ("timeout", "0"), ("no-daemon", "run"),
                                           ("lease-timeout", "-1")])
def test_a_wrong_setting_is_told_at_once(suite, pool, option, value):
    result = suite.at(pool.path).write(HOSTNAME).run(f"--sshlease-{option}={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--sshlease-{option}*is '{value}': give *"])


def test_the_options_are_one_group(suite):
    text = suite.run("--help").stdout.str()
    for name in ("target", "socket", "timeout", "lease-timeout", "no-daemon", "autostart"):
        assert f"--sshlease-{name}" in text and f"sshlease_{name.replace('-', '_')}" in text
    assert "sshlease: pooled SSH connections" in text


def test_the_socket_by_option_reaches_what_the_tests_start(suite, pool, absent):
    suite.at(absent).write(f"""
        import subprocess

        def test_it(ssh_lease):
            assert ssh_lease("t").run("true").returncode == 0
            assert subprocess.run([{program("sshlease")!r}, "exec", "t", "--", "exit 7"]).returncode == 7
    """).run(f"--sshlease-socket={pool.path}").assert_outcomes(passed=1)


def test_a_relative_socket(suite, pool, absent):
    """By option beside whom one calls; in the ini file beside that."""
    path = suite.pytester.path
    (path / "sub").mkdir()
    (path / "s.sock").symlink_to(pool.path)
    suite.at(absent).write(HOSTNAME)
    suite.run("--sshlease-socket=s.sock").assert_outcomes(passed=1)
    suite.pytester.makeini("[pytest]\nsshlease_socket = s.sock\n")
    suite.monkeypatch.chdir(path / "sub")
    suite.pytester.run(*suite.words(".."), timeout=60).assert_outcomes(passed=1)


# --- who holds what ---

LABELS = f"""
    import json, subprocess
    import pytest

    def labels():
        status = json.loads(subprocess.check_output([{program("sshlease")!r}, "status", "--json"]))
        return [lease["label"] for lease in status["leases"]]

    class TestThings:
        @pytest.mark.parametrize("n", ["x" * 400, "short"])
        def test_named(self, ssh_lease, n):
            with ssh_lease("t"):
                print("LABELS", json.dumps(labels()))
            with ssh_lease("t", label="mine"):
                assert labels() == ["mine"]

    def test_session(ssh_session_lease):
        ssh_session_lease("t")
        print("LABELS", json.dumps(labels()))
"""


def shown_labels(result):
    return [json.loads(line.partition(" ")[2])[-1] for line in result.outlines if line.startswith("LABELS ")]


def test_the_label_is_the_test(suite, pool):
    result = suite.at(pool.path).write(LABELS).run("-rP")
    result.assert_outcomes(passed=3)
    long, short, session = shown_labels(result)
    assert short == "test_it.py::TestThings::test_named[short]"
    assert long.startswith("test_it.py::TestThings::test_named[xx") and long.endswith("…" + "x" * 167 + "]")
    assert len(long.encode()) == 255
    assert session == "test_it.py::test_session"


def test_the_label_has_the_worker(suite, pool):
    result = suite.at(pool.path).write(LABELS).run("-rP", "-p", "xdist", "-n", "1", "-k", "short or session")
    assert shown_labels(result) == ["gw0 test_it.py::TestThings::test_named[short]", "gw0 test_it.py::test_session"]


# --- no daemon ---

NEEDS_ONE = """
    import sshlease

    def test_fixture(ssh_lease):
        ssh_lease("t")

    def test_session(ssh_session_lease):
        ssh_session_lease("t")

    def test_by_itself():
        sshlease.lease("t")

    def test_without():
        pass
"""


@pytest.mark.parametrize("options", [[], ["--sshlease-no-daemon=fail"]])
def test_no_daemon_fails_the_tests_that_need_one(suite, absent, options):
    result = suite.at(absent).write(NEEDS_ONE).run(*options)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines([f"t: {NO_DAEMON} at {absent}; start one of your own with `sshleased --user &`*, "
                                 "or run pytest with --sshlease-autostart"])
    assert "autostart=True" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str() and "pytest_plugin.py" not in result.stdout.str()


def test_no_daemon_skips_by_option(suite, absent):
    result = suite.at(absent).write(NEEDS_ONE).run("--sshlease-no-daemon=skip", "-rs")
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines([f"SKIPPED * {NO_DAEMON} at {absent}*"])


def test_no_daemon_skips_by_ini_under_xdist(suite, absent):
    suite.pytester.makeini("[pytest]\nsshlease_no_daemon = skip\n")
    suite.at(absent).write(NEEDS_ONE).run("-p", "xdist", "-n", "2").assert_outcomes(passed=1, skipped=3)


@pytest.mark.once
def test_a_daemon_that_hangs_is_no_reason_to_hang(suite, pool):
    suite.at(pool.path).write(HOSTNAME)
    suite.pytester.makeconftest("import sshlease._lease as it; it.ANSWER_SECONDS = it.CLOSE_SECONDS = 0.5")
    pool.signal(signal.SIGSTOP)
    result = suite.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["sshlease: sshleased at * does not answer", "*sshlease*Timeout: t: sshleased at * does not answer"])


@pytest.mark.once
def test_autostart_starts_one(suite, tmp_path):
    """Before the header tells of it, and one for all workers."""
    path = tmp_path / "own.sock"
    suite.monkeypatch.setenv("SSHLEASE_DAEMON", program("sshleased"))
    suite.at(path).write(f"""
        import json, subprocess
        import pytest, sshlease

        @pytest.mark.parametrize("number", range(4))
        def test_it(ssh_lease, number):
            with pytest.raises(sshlease.Unreachable):
                ssh_lease("nobody@127.0.0.1:1", timeout=5)
            status = json.loads(subprocess.check_output([{program("sshlease")!r}, "status", "--json"]))
            with open(f"pid.{{number}}", "w") as f:
                f.write(str(status["pid"]))
    """)
    try:
        result = suite.run("-p", "xdist", "-n", "2", "--sshlease-autostart")
    finally:
        pids = {int(one.read_text()) for one in suite.pytester.path.glob("pid.*")}
        for watch in map(procs.Watch, pids):
            watch.kill(signal.SIGTERM)
            watch.await_gone()
            watch.close()
    result.assert_outcomes(passed=4)
    assert len(pids) == 1
    result.stdout.fnmatch_lines([f"sshlease: sshleased * at {path}"])


def test_autostart_that_fails_is_told_by_the_tests(suite, tmp_path, absent):
    suite.monkeypatch.setenv("SSHLEASE_DAEMON", str(tmp_path / "no-such-program"))
    result = suite.at(absent).write(NEEDS_ONE).run("--sshlease-autostart", "-k", "fixture or without")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["t: *no-such-program*"])


# --- reports ---

@pytest.mark.once
def test_an_error_is_shown_where_the_test_met_it(suite, pool):
    """Not with the steps within the package; those of an error that may be the package's are there."""
    result = suite.at(pool.path).write("""
        import pytest, sshlease, sshlease.aio, asyncio
        from sshlease import paramiko

        def test_refused(ssh_lease):
            ssh_lease("nowhere")

        def test_refused_without_a_fixture():
            sshlease.lease("nowhere")

        def test_command(ssh_lease):
            ssh_lease("t").output("exit 3")

        def test_process(ssh_lease):
            ssh_lease("t").popen("sleep 9").wait(0.01)

        def test_paramiko():
            paramiko.SSHClient().connect("nowhere")

        def test_asyncio():
            async def main():
                await sshlease.aio.lease("nowhere")
            asyncio.run(main())

        def test_bug(ssh_lease, monkeypatch):
            monkeypatch.setattr("sshlease._lease.Result", None)
            ssh_lease("t").run("true")
    """).run("-W", "ignore")
    result.assert_outcomes(failed=7)
    rest, _, bug = result.stdout.str().partition("_ test_bug _")
    assert "src/sshlease/" not in rest and "direct cause" not in rest and "During handling" not in rest
    assert "src/sshlease/_lease.py" in bug

def test_a_failing_test_shows_what_was_run(suite, pool):
    result = suite.at(pool.path).write("""
        import sshlease, pytest

        @pytest.fixture
        def mine():
            with sshlease.lease("u") as lease:
                yield lease

        def test_good(ssh_lease):
            ssh_lease("t").run("echo unseen")

        def test_bad(ssh_lease, ssh_session_lease, mine):
            with ssh_lease("t") as c:
                c.run("true")
                c.run("exit 3")
                c.run("kill -9 $$")
            p = ssh_lease("t").popen("echo begun; sleep 300")
            p.stdout.readline()
            mine.run("printf 'a\\\\nb\\\\n'\\nexit 4")
            ssh_session_lease("u").run("exit 5")
            assert False
    """).run()
    result.assert_outcomes(passed=1, failed=1, warnings=1)
    result.stdout.fnmatch_lines([
        "*- sshlease: commands run under this test's leases -*",
        "t: exit 0 * s  true",
        "t: exit 3 * s  exit 3",
        "t: SIGKILL * s  kill -9 $$",
        "t: running * s  echo begun; sleep 300",
        "u: exit 4 * s  printf 'a\\nb\\n'\\nexit 4",
        "u: exit 5 * s  exit 5",
    ])
    assert "unseen" not in result.stdout.str()


def test_the_report_of_a_client_in_paramiko_s_shape(suite, pool):
    """That a fixture of the test's own gives it; closed when the test fails."""
    result = suite.at(pool.path).write("""
        import pytest
        from sshlease import paramiko

        @pytest.fixture
        def client():
            client = paramiko.SSHClient()
            client.connect("t")
            return client

        def test_bad(client):
            with client:
                assert client.exec_command("exit 3")[1].channel.recv_exit_status() == 0
    """).run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["t: exit 3 * s  exit 3"])


def test_the_report_is_bounded(suite, pool):
    result = suite.at(pool.path).write("""
        def test_bad(ssh_lease):
            c = ssh_lease("t")
            for number in range(60):
                c.run(f": run {number} " + "x" * 10000)
            assert False
    """).run("--tb=short")
    lines = [line for line in result.outlines if line.startswith("t: exit 0")]
    assert len(lines) == 50 and all(len(line) < 200 for line in lines)
    assert ": run 10 " in lines[0] and ": run 59 " in lines[-1]
    result.stdout.fnmatch_lines(["(the newest; there were more)"])


def test_the_report_comes_from_workers_too(suite, pool):
    result = suite.at(pool.path).write("""
        def test_bad(ssh_lease):
            ssh_lease("t").run("exit 3", check=True)
    """).run("-p", "xdist", "-n", "2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CommandFailed: *'exit 3' exited with 3*", "*commands run under this test's leases*",
                                 "t: exit 3 * s  exit 3"])


# --- nothing is left ---

def test_what_a_test_leaves_is_closed_and_told(suite, pool, sshd):
    suite.at(pool.path).write(f"""
        import json, subprocess

        def test_left_running(ssh_lease):
            p = ssh_lease("t").popen("echo begun; sleep 300")
            assert p.stdout.readline()
            test_left_running.lease = p   # outlives the test

        def test_left_open(ssh_lease):
            lease = ssh_lease("t")
            lease.run("true")
            test_left_open.lease = lease

        def test_afterwards(ssh_lease):
            assert test_left_open.lease.closed
            assert json.loads(subprocess.check_output([{program("sshlease")!r}, "status", "--json"]))["leases"] == []
    """)
    result = suite.run("-W", "error::ResourceWarning")
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(["*test_it.py::test_left_running*",
                                 "*LeftRunningWarning: nobody waited for the end of 'echo begun; sleep 300' on t*"])
    sshd.await_nothing_remote()


def test_the_session_keeps_one_lease_for_each_target(suite, pool):
    suite.at(pool.path).write(f"""
        import subprocess

        def test_one(ssh_session_lease):
            lease = ssh_session_lease("t")
            lease.run("true")
            assert ssh_session_lease("t") is lease and ssh_session_lease("u") is not lease
            test_one.lease = lease

        def test_two(ssh_session_lease):
            assert ssh_session_lease("t") is test_one.lease
            subprocess.check_call([{program("sshlease")!r}, "end", str(test_one.lease.id)])

        def test_three(ssh_session_lease):
            lease = ssh_session_lease("t")
            assert lease is not test_one.lease
            assert lease.run("echo again").stdout == "again\\n"
    """).run().assert_outcomes(passed=3)
    pool.await_connections("u", idle=1, leased=0)


# --- the example ---

@pytest.mark.parametrize("options", [[], ["-p", "xdist", "-n", "2"]])
def test_the_example(suite, make_daemon, sshd, target, options):
    example = os.path.join(os.path.dirname(__file__), "..", "examples", "suite")
    one = make_daemon({"targets": {name: target(sshd, kill_grace="300ms") for name in ("web1", "db1")}})
    shutil.copytree(example, suite.pytester.path, dirs_exist_ok=True)
    suite.at(one.path).run(*options).assert_outcomes(passed=9)


# --- pytest-xdist ---

@pytest.mark.once
def test_eight_workers_share_two_connections(suite, pool):
    suite.at(pool.path).write("""
        import pytest

        @pytest.mark.parametrize("number", range(32))
        def test_it(ssh_lease, number):
            assert ssh_lease("t").run(f"echo {number}").stdout == f"{number}\\n"
    """).run("-p", "xdist", "-n", "8").assert_outcomes(passed=32)
    pool.await_connections("t", leased=0)
    counters = pool.status()["counters"]
    assert pool.connections("t")["idle"] <= 2, counters


def test_a_worker_killed_in_mid_command(suite, pool, sshd):
    """The worker is gone, and with it its lease's connection and what ran on the far side; the others go on."""
    suite.at(pool.path).write("""
        import os, pytest

        def test_doomed(ssh_lease):
            p = ssh_lease("t").popen("echo $$; exec sleep 300")
            print(p.stdout.readline())
            with open("worker", "w") as f:
                f.write(str(os.getpid()))
            os.rename("worker", "worker.pid")
            p.wait()

        @pytest.mark.parametrize("number", range(4))
        def test_others(ssh_lease, number):
            assert ssh_lease("t").run("true").returncode == 0
    """)
    process = suite.start("-p", "xdist", "-n", "2")
    try:
        pid_file = suite.pytester.path / "worker.pid"
        until(pid_file.exists, "a worker in mid-command", timeout=30)
        far = until(lambda: [p for p in sshd.remote() if "sleep 300" in procs.cmdline(p)], "the remote process")
        watches = [procs.Watch(p) for p in far]
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        for watch in watches:
            watch.await_gone()
            watch.close()
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    text = output.decode()
    assert re.search(r"1 failed, 4 passed", text) and "crashed while running 'test_it.py::test_doomed'" in text, text
    pool.await_connections("t", leased=0, draining=0, closing=0)
    sshd.await_nothing_remote()
    assert pool.log.matches(r"client-gone|client gone"), "\n".join(pool.log.lines[-20:])


def test_whoever_is_interrupted_leaves_nothing(suite, pool, sshd):
    suite.at(pool.path).write("""
        def test_it(ssh_lease, capfd):
            p = ssh_lease("t").popen("echo begun; sleep 300")
            p.stdout.readline()
            with capfd.disabled():
                print("\\nbegun", flush=True)
            p.wait()
    """)
    process = suite.start()
    while b"begun" not in read_line(process.stdout).encode():
        pass
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output.decode()
    sshd.await_nothing_remote()
    pool.await_connections("t", leased=0)
