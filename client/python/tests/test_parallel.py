# SPDX-License-Identifier: MIT
"""Threads, an event loop and child processes, all in one program: everybody has his own, and nothing is shared silently."""

import asyncio
import multiprocessing
import os
import pickle
import threading

import pytest

import sshlease
import sshlease.aio
from sshlease import paramiko


def test_threads_and_an_event_loop_in_one_process(daemon):
    """Leases of their own and one that all threads share, at the same time."""
    said = {}

    def work(number, shared):
        with sshlease.lease("t", socket=daemon.path) as own:
            said[number] = [(own.output(f"echo {number}.{turn}"), shared.output(["cat"], input=f"{number}.{turn}\n"))
                            for turn in range(5)]

    async def task(number):
        async with sshlease.aio.lease("t", socket=daemon.path) as c:
            said[number] = [(await c.output(f"echo {number}.{turn}"), f"{number}.{turn}\n") for turn in range(5)]

    async def main():
        await asyncio.gather(*(task(number) for number in range(3)))

    with sshlease.lease("t", socket=daemon.path) as shared:
        threads = [threading.Thread(target=work, args=(number, shared)) for number in range(3, 6)]
        for thread in threads:
            thread.start()
        asyncio.run(main())
        for thread in threads:
            thread.join(30)
    assert said == {number: [(f"{number}.{turn}\n",) * 2 for turn in range(5)] for number in range(6)}
    daemon.await_connections(leased=0)


def _child(lease, client, path, pipe):
    said = []
    for call in (lambda: lease.run("true"), lambda: client.exec_command("true"), lease.renew):
        try:
            call()
            said.append("worked")
        except sshlease.SshleaseError as e:
            said.append(e.name)
    lease.close()
    client.close()
    with sshlease.lease("t", socket=path) as own:
        said.append(own.output("echo own").strip())
    pipe.send(said)


def test_multiprocessing_by_fork(daemon, lease):
    """The child has the parent's objects, which raise there; the parent's go on."""
    one = lease()
    process = one.popen("cat")
    with paramiko.SSHClient() as client:
        client.connect("t", socket=daemon.path)
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        child = context.Process(target=_child, args=(one, client, daemon.path, theirs))
        child.start()
        assert ours.poll(20) and ours.recv() == ["forked", "forked", "forked", "own"]
        child.join(20)
        assert child.exitcode == 0
        assert process.communicate(b"here") == (b"here", b"")
        assert client.exec_command("echo fine")[1].read() == b"fine\n"


def test_a_pool_of_processes(daemon, lease):
    """Each worker that asks gets its own, though the program had one before they were forked."""
    one = lease()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(_owned, [daemon.path] * 6)
    assert all(said == f"{pid}\n" and pid != os.getpid() for said, pid in found)
    assert one.output("echo fine") == "fine\n"


def _owned(path):
    with sshlease.lease("t", socket=path) as c:
        return c.output(["echo", str(os.getpid())]), os.getpid()


def test_nothing_can_be_sent_to_another_process(daemon, lease):
    """As multiprocessing's spawn would: one clear error, for each kind of object that holds a lease."""
    one = lease()
    process = one.popen("cat")
    with paramiko.SSHClient() as client:
        client.connect("t", socket=daemon.path)
        files = client.exec_command("cat")
        for kind in (one, process, client, client.get_transport(), files[0].channel, files[1]):
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(kind)
        with pytest.raises(TypeError, match="a lease belongs to the process that took it: it cannot be pickled"):
            multiprocessing.get_context("spawn").Process(target=_owned, args=(one,)).start()
        files[0].channel.close()
    process.close()
