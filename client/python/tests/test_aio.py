# SPDX-License-Identifier: MIT
"""sshlease.aio: the same on an event loop, and what cancelling does."""

import asyncio
import gc
import inspect
import os
import signal
import time

import pytest

import sshlease
import sshlease.aio
from waiting import until

LONG = "echo begun; setsid sleep 4000 >/dev/null 2>&1 & exec sleep 4001"


def on_loop(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def test_run(daemon):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path, label="aio") as c:
            result = await c.run("echo out; echo err >&2; exit 3", timeout=30)
            assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 3)
            data = bytes(range(256)) * 4000
            assert (await c.run(["cat"], input=data, encoding=None)).stdout == data
            assert await c.output("cat", input="grüße") == "grüße"
            with pytest.raises(sshlease.CommandFailed, match="t: 'false' exited with 1"):
                await c.run("false", check=True)
            assert 0 < await c.renew(100) <= 100
            assert daemon.status()["leases"][0]["label"] == "aio" and c.target == "t" and not c.closed
        assert c.closed and c.over
        with pytest.raises(sshlease.LeaseEnded):
            await c.run("true")
    on_loop(main())
    daemon.await_connections(idle=1, leased=0)


def test_awaited(daemon):
    async def main():
        c = await sshlease.aio.connect("t", socket=daemon.path)
        try:
            assert (await c.run("true")).succeeded
        finally:
            await c.close()
            await c.close()
    on_loop(main())
    daemon.await_connections(idle=1, leased=0)


def test_many_at_once(daemon):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            begin = time.monotonic()
            results = await asyncio.gather(*(c.run(f"sleep 0.3; echo {n}") for n in range(8)))
            assert [int(r.stdout) for r in results] == list(range(8))
            assert time.monotonic() - begin < 2
    on_loop(main())


def test_cancelling_ends_the_command(daemon, sshd):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            task = asyncio.ensure_future(c.run("sleep 4000 | cat; sleep 4001"))
            while len(sshd.remote()) < 2:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while sshd.remote():
                await asyncio.sleep(0.01)
            assert await c.output("echo still leased") == "still leased\n"
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(c.run("sleep 4002"), 0.2)
    on_loop(main())


def test_timeout(daemon, sshd):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            with pytest.raises(sshlease.CommandTimeout) as caught:
                await c.run(LONG, timeout=0.3)
            assert caught.value.stdout == "begun\n"
    on_loop(main())
    sshd.await_nothing_remote()


def test_cancelled_while_it_waits_for_a_connection(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1)}})

    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(sshlease.aio.lease("t", socket=daemon.path).__aenter__(), 0.2)
            with pytest.raises(sshlease.Timeout):
                await sshlease.aio.lease("t", socket=daemon.path, timeout=0.1)
    on_loop(main())
    until(lambda: daemon.target()["waiters"] == 0, "nobody to wait")


def test_streams(daemon):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            async with await c.popen("read line; echo got $line; echo err >&2; cat", encoding="utf-8") as p:
                await p.stdin.write("first\n")
                assert await p.stdout.readline() == "got first\n"
                assert await p.stderr.readline() == "err\n"
                await p.stdin.write("zweite größe\nthird\n")
                p.stdin.close()
                assert [line async for line in p.stdout] == ["zweite größe\n", "third\n"]
            assert p.returncode == 0
            every = os.urandom(2_000_000)
            p = await c.popen("tee /dev/stderr")
            assert await p.communicate(every) == (every, every)
            async with await c.popen("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 4") as p:
                assert len(await p.stdout.read(100)) == 100  # the rest is nobody's business
            assert p.returncode == 4
            p = await c.popen("echo ready; exec sleep 4003")
            await p.stdout.readline()  # sshd drops signals for a command that it has not quite started
            p.terminate()
            assert await p.wait(20) == -signal.SIGTERM and p.signal == "TERM"
            with pytest.raises(BrokenPipeError):
                await p.stdin.write(b"x" * 1000000)
            p = await c.popen(["sleep", "4004"])
            p.close()
            with pytest.raises(sshlease.SshleaseError, match="closed by this program"):
                await p.wait()
    on_loop(main())


def test_the_loop_keeps_an_idle_lease(daemon):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path, lease_timeout=0.6) as c:
            await asyncio.sleep(1.5)
            assert (await c.run("true")).succeeded
    on_loop(main())


def test_revoked(daemon, sshd):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            task = asyncio.ensure_future(c.run(LONG))
            while not sshd.remote():
                await asyncio.sleep(0.01)
            with daemon.client() as admin:
                admin.end(c.id)
            with pytest.raises(sshlease.Revoked):
                await task
    on_loop(main())


def test_no_daemon(tmp_path):
    async def main():
        async with sshlease.aio.lease("t", socket=str(tmp_path / "none")):
            pass
    with pytest.raises(sshlease.NoDaemon, match="sshleased --user"):
        on_loop(main())


def test_the_daemon_dies(daemon, sshd):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            task = asyncio.ensure_future(c.run("sleep 4005"))
            await c.run("true")
            daemon.kill()
            with pytest.raises(sshlease.DaemonGone):
                await task
    on_loop(main())
    sshd.kill_remote()  # nobody else is there to do it


def fds():
    return len(os.listdir("/proc/self/fd"))


def test_never_closed(daemon):
    gc.collect()  # of what went before
    before = fds()

    async def forget():
        await sshlease.aio.lease("t", socket=daemon.path)
        gc.collect()
        while daemon.status()["leases"]:  # while the loop still runs
            await asyncio.sleep(0.01)
    with pytest.warns(ResourceWarning, match="unclosed"):
        on_loop(forget())
    kept = []

    async def keep():
        kept.append(await sshlease.aio.lease("t", socket=daemon.path))
    on_loop(keep())
    with pytest.warns(ResourceWarning, match="unclosed"):
        kept.clear()  # its loop is no more
    until(lambda: not daemon.status()["leases"], "the end of the lease")
    gc.collect()
    assert fds() == before


def test_interpreter_exit(daemon, sshd, python):
    one = python("""if 1:
        import asyncio, sys, sshlease.aio
        async def main():
            c = await sshlease.aio.lease("t", socket=sys.argv[1])
            p = await c.popen(sys.argv[2])
            print((await p.stdout.readline()).decode(), flush=True)
            sys.exit(3)
        asyncio.run(main())
        """, daemon.path, LONG)
    assert one.stdout.readline() == "begun\n"
    one.communicate(timeout=20)
    sshd.await_nothing_remote()


def test_fork(daemon):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            child = os.fork()
            if child == 0:
                try:
                    with pytest.raises(sshlease.SshleaseError, match="process that forked"):
                        await c.run("true")
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            assert (await c.run("true")).succeeded
    on_loop(main())


def test_exited_while_a_child_has_the_output(daemon):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            p = await c.popen("""sh -c 'trap "kill \\$!; echo late; exit" USR1; sleep 4000 & echo $$ waits; wait' & exit 3""")
            child = int((await p.stdout.readline()).split()[0])
            assert await p.wait(20) == 3
            os.kill(child, signal.SIGUSR1)
            assert await p.communicate() == (b"late\n", b"")
    asyncio.run(main())


@pytest.mark.paramiko
def test_no_exit_status(silent):
    async def main():
        async with sshlease.aio.lease("t", socket=silent) as c:
            async def communicate():
                return await (await c.popen("show version")).communicate()
            for get in (lambda: c.run("show version", encoding=None), communicate):
                with pytest.raises(sshlease.NoOrderlyEnd) as caught:
                    await get()
                assert (caught.value.stdout, caught.value.stderr) == (b"out of show version\n", b"err\n")
            p = await c.popen("show version")
            with pytest.raises(sshlease.NoOrderlyEnd):
                await p.wait()
            with pytest.raises(sshlease.NoOrderlyEnd) as caught:
                await p.stdout.read()
            assert caught.value.stdout == b"out of show version\n"
    asyncio.run(main())


def public(kind):
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


def parameters(call):
    return [(one.name, one.kind, one.default) for one in inspect.signature(call).parameters.values() if one.name != "self"]


@pytest.mark.parametrize("kind", ["Lease", "Process"])
def test_the_same_names_and_arguments(kind):
    theirs, ours = public(getattr(sshlease, kind)), public(getattr(sshlease.aio, kind))
    assert sorted(ours) == sorted(theirs)
    for name, call in theirs.items():
        if inspect.isfunction(call):
            assert parameters(ours[name]) == parameters(call), name
    assert parameters(sshlease.aio.lease) == parameters(sshlease.lease)


def test_poll_and_a_subsystem(daemon):
    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            p = await c.popen("read line; exit 3")
            assert await p.poll() is None and p.returncode is None
            await p.stdin.write("go\n")
            while await p.poll() is None:  # nothing else gives the loop a turn
                time.sleep(0.01)
            assert await p.poll() == p.returncode == 3
            async with await c.subsystem("sftp") as p:
                await p.stdin.write(b"\0\0\0\5\1\0\0\0\3")  # SSH_FXP_INIT
                assert (await p.stdout.read(5))[4] == 2            # SSH_FXP_VERSION
    on_loop(main())


# Reads a line only when told to: until then the input does not fit.
SLOW_READER = "echo begun; until [ -e {0} ]; do sleep 0.02; done; rm {0}; echo err >&2; wc -c"


def test_communicate_goes_on_where_it_was(daemon):
    """After its time, or a cancelled task: nothing of the input is lost or sent twice, nothing of the output lost. As the
    other side has it."""
    go, size = f"/tmp/sshlease-go.{os.getpid()}", 9_000_000
    data = bytes(size)

    def until_begun(error):
        assert error.stdout in (b"", b"begun\n") and error.stderr == b""

    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            p = await c.popen(SLOW_READER.format(go))
            with pytest.raises(sshlease.CommandTimeout) as caught:
                await p.communicate(data, timeout=0.3)
            until_begun(caught.value)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(p.communicate(), 0.1)
            assert (await c.run(["touch", go])).succeeded
            assert await p.communicate(timeout=30) == (f"begun\n{size}\n".encode(), b"err\n")
    on_loop(main())
    with sshlease.lease("t", socket=daemon.path) as c:
        p = c.popen(SLOW_READER.format(go))
        with pytest.raises(sshlease.CommandTimeout) as caught:
            p.communicate(data, timeout=0.3)
        until_begun(caught.value)
        assert c.run(["touch", go]).succeeded
        assert p.communicate(timeout=30) == (f"begun\n{size}\n".encode(), b"err\n")


def test_what_came_before_the_cut(daemon):
    """Lines come, and the last part of one; then it raises and goes on raising."""
    async def main():
        for encoding, half in ((None, b"gr\xc3"), ("utf-8", None)):
            async with sshlease.aio.lease("t", socket=daemon.path) as c:
                p = await c.popen("printf 'one\\ntwo gr\\303'; printf 'a\\nbc' >&2; exec sleep 4000", encoding=encoding)
                while list(map(len, p._bins)) != [11, 4]:
                    await asyncio.sleep(0.01)
                with daemon.client() as admin:
                    admin.end(c.id)
                lines = []
                with pytest.raises(sshlease.Revoked):
                    async for line in p.stderr:
                        lines.append(line)
                assert lines == ([b"a\n", b"bc"] if encoding is None else ["a\n", "bc"])
                with pytest.raises(sshlease.Revoked):
                    await p.stderr.readline()
                await p.stdout.readline()
                if half is not None:
                    assert await p.stdout.readline() == b"two " + half
                else:
                    with pytest.raises(sshlease.Revoked) as caught:
                        await p.stdout.readline()
                    assert caught.value.stdout == "two gr\ufffd"
    on_loop(main())
