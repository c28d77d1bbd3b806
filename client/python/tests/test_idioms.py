# SPDX-License-Identifier: MIT
"""However a program lets go of its lease, nothing is left: neither the connection nor what ran on it."""

import gc
import os
import signal
import sys
import textwrap
import warnings
import weakref

import pytest

import sshlease
from daemon import read_line
from waiting import until


def held(daemon):
    return len(daemon.status()["leases"])


def await_none_held(daemon):
    until(lambda: held(daemon) == 0, "the end of the lease")


def fds():
    return len(os.listdir("/proc/self/fd"))


# A program that says what its command said, and then does what `ending` says.
def program(ending):
    return "import gc, os, signal, sys, threading, sshlease\n" + textwrap.dedent(ending)


COMMAND = "setsid sleep 4000 >/dev/null 2>&1 & echo begun; exec sleep 4001"


def test_with(daemon):
    with sshlease.lease("t", socket=daemon.path) as c:
        assert c.run("true").succeeded
        assert held(daemon) == 1
    await_none_held(daemon)
    assert daemon.connections()["idle"] == 1  # given back clean


def test_with_and_an_exception(daemon):
    with pytest.raises(KeyError), sshlease.lease("t", socket=daemon.path) as c:
        raise KeyError(c.id)
    daemon.await_connections(idle=1, leased=0)


def test_try_finally(daemon):
    c = sshlease.connect("t", socket=daemon.path)
    try:
        assert c.run("true").succeeded
    finally:
        c.close()
    daemon.await_connections(idle=1, leased=0)
    c.close()


def test_never_closed(daemon):
    c = sshlease.lease("t", socket=daemon.path)
    line = sys._getframe().f_lineno - 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del c
    (warning,) = [w for w in caught if w.category is ResourceWarning]
    assert "unclosed sshlease.Lease of 't'" in str(warning.message)
    assert (warning.filename, warning.lineno) == (__file__, line)  # where it was made, not where it went
    await_none_held(daemon)


def test_never_closed_where_warnings_are_errors(daemon, monkeypatch):
    """As pytest -W error has them: the lease ends all the same."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    c = sshlease.lease("t", socket=daemon.path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del c
    await_none_held(daemon)


def test_in_a_cycle(daemon):
    class Owner:
        pass
    gc.disable()
    try:
        owner = Owner()
        owner.lease, owner.itself = sshlease.lease("t", socket=daemon.path), owner
        owner.process = owner.lease.popen("cat")
        gone = weakref.ref(owner)
        del owner
        assert gone() is not None and held(daemon) == 1
        with pytest.warns(ResourceWarning):
            gc.collect()
    finally:
        gc.enable()
    assert gone() is None
    await_none_held(daemon)


def test_the_process_keeps_the_lease(daemon):
    """c.popen(…) of a lease that has no other name."""
    process = sshlease.lease("t", socket=daemon.path).popen("cat")
    gc.collect()
    out = process.communicate(b"here")
    assert out == (b"here", b"") and process.returncode == 0 and held(daemon) == 1
    with pytest.warns(ResourceWarning):
        del process
        gc.collect()
    await_none_held(daemon)


ENDINGS = {
    "return": "",
    "exception": "raise KeyError('lost')",
    "sys.exit": "sys.exit(3)",
    "os._exit": "os._exit(3)",
    "abort": "os.abort()",
    "cycle at exit": "owner = [c, p]; owner.append(owner); gc.disable(); del c, p",
    "a thread that waits": """
        threading.Thread(target=c.run, args=("sleep 4002",), daemon=True).start()
        """,
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_the_interpreter_ends(daemon, sshd, python, ending):
    one = python(program(f"""
        c = sshlease.lease("t", socket=sys.argv[1])
        p = c.popen(sys.argv[2])
        print(p.stdout.readline(), flush=True)
        """) + textwrap.dedent(ending), daemon.path, COMMAND)
    assert "begun" in one.stdout.readline()
    one.communicate(timeout=20)  # no hanging at exit
    sshd.await_nothing_remote()
    await_none_held(daemon)
    assert daemon.connections()["idle"] == 0  # reclaimed, not given back


def test_a_warning_at_exit_names_the_place(daemon, python):
    one = python("import sys, sshlease\nc = sshlease.lease('t', socket=sys.argv[1])\n", daemon.path,
                 env={**os.environ, "PYTHONWARNINGS": "default", "PYTHONPATH": os.pathsep.join(sys.path)})
    _, said = one.communicate(timeout=20)
    assert "<string>:2: ResourceWarning: unclosed sshlease.Lease of 't'" in said


def test_sigkill_in_mid_command(daemon, sshd, python):
    one = python(program("""
        c = sshlease.lease("t", socket=sys.argv[1])
        print("leased", flush=True)
        c.run(sys.argv[2])
        """), daemon.path, COMMAND)
    assert read_line(one.stdout.buffer) == "leased\n"
    until(lambda: len(sshd.remote()) >= 2, "the command")
    ports = daemon.connections()
    assert ports["leased"] == 1
    one.send_signal(signal.SIGKILL)
    sshd.await_nothing_remote()
    until(lambda: sshd.connections() == 0, "the end of the connection")
    await_none_held(daemon)


def test_interrupted_in_mid_command(daemon, sshd, python):
    """Ctrl-C ends the command, and the lease is good for another."""
    one = python(program("""
        with sshlease.lease("t", socket=sys.argv[1]) as c:
            print("leased", flush=True)
            try:
                c.run(sys.argv[2])
            except KeyboardInterrupt:
                print("interrupted", c.output("echo still there"), flush=True)
        """), daemon.path, "sleep 4003")
    assert one.stdout.readline() == "leased\n"
    until(sshd.remote, "the command")
    one.send_signal(signal.SIGINT)
    out, _ = one.communicate(timeout=20)
    assert out.split() == ["interrupted", "still", "there"]
    sshd.await_nothing_remote()


def test_fork(daemon, sshd):
    """The child's copy holds nothing and harms nothing; it can take leases of its own."""
    c = sshlease.lease("t", socket=daemon.path)
    process = c.popen("cat")
    process.stdin.write(b"before ")
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = []
            try:
                c.run("echo no")
            except sshlease.SshleaseError as e:
                said.append(e.name)
            c.close()
            process.close()
            with sshlease.lease("t", socket=daemon.path) as own:
                said.append(own.output("echo own").strip())
            os.write(theirs, " ".join(said).encode() + b"\n")
            signal.pause()  # and it lives on, while the parent lets go
        finally:
            os._exit(1)
    os.close(theirs)
    try:
        with open(ours, encoding="utf-8") as f:
            assert f.readline().split() == ["forked", "own"]
        process.stdin.write(b"and after")
        assert process.communicate()[0] == b"before and after"
        lease_id = c.id
        c._link.drop()  # the parent lets go without a word: only the socket's last copy ends a lease
        until(lambda: lease_id not in [x["id"] for x in daemon.status()["leases"]], "the end of the lease")
        c.close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_forked_child_ends_without_a_word(daemon, python, python_env):
    one = python(program("""
        c = sshlease.lease("t", socket=sys.argv[1])
        if os.fork() == 0:
            sys.exit()
        os.wait()
        print(c.output("echo fine"), end="")
        c.close()
        """), daemon.path, env={**python_env, "PYTHONWARNINGS": "default"})
    assert one.communicate(timeout=20) == ("fine\n", "")


def test_fork_while_another_thread_reads(daemon, sshd, python):
    one = python(program("""
        c = sshlease.lease("t", socket=sys.argv[1])
        thread = threading.Thread(target=lambda: print(c.output("echo begun >&2; cat", input="x" * 999)[-1]))
        other = c.popen("cat")
        reader = threading.Thread(target=other.stdout.read)
        reader.start()
        thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                try:
                    c.run("true")
                except sshlease.SshleaseError:
                    os._exit(0)
                os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
        thread.join()
        other.stdin.close()
        reader.join()
        c.close()
        """), daemon.path)
    out, err = one.communicate(timeout=60)
    assert (one.returncode, out) == (0, "x\n"), err


def test_no_descriptor_reaches_a_child_program(c, python):
    one = python("import os, sys; print([os.readlink(f'/proc/self/fd/{f}') for f in os.listdir('/proc/self/fd') "
                 "if os.path.exists(f'/proc/self/fd/{f}')])", close_fds=False)
    out, _ = one.communicate(timeout=20)
    assert f"socket:[{os.fstat(c._link.fileno()).st_ino}]" not in out


@pytest.mark.once
def test_200_leases(daemon):
    with sshlease.lease("t", socket=daemon.path) as c:
        c.run("true")
    before = fds()
    for number in range(200):
        if number % 2:
            with sshlease.lease("t", socket=daemon.path) as c:
                assert c.run("true").succeeded
        elif number % 20:
            sshlease.lease("t", socket=daemon.path).close()
        else:  # each costs a login
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sshlease.lease("t", socket=daemon.path)
        assert fds() == before
    await_none_held(daemon)


def test_no_thread_is_started(c):
    before = procs_threads()
    process = c.popen("cat")
    c.run("true")
    process.communicate()
    assert procs_threads() == before


def procs_threads():
    return len(os.listdir("/proc/self/task"))


def test_it_cannot_be_pickled(c):
    import pickle
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(c)


def test_close_does_not_wait_for_a_daemon_that_is_stopped(daemon, monkeypatch):
    monkeypatch.setattr(sshlease._lease, "CLOSE_SECONDS", 0.3)
    c = sshlease.lease("t", socket=daemon.path)
    daemon.signal(signal.SIGSTOP)
    try:
        c.close()
    finally:
        daemon.signal(signal.SIGCONT)
    await_none_held(daemon)
