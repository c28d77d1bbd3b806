#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`true` from Python, as a contestant of scripts/bench (the protocol of batch.h): through sshlease, sshlease.aio, paramiko or
asyncssh, each on a lease or connection that is open all the time.

    python_loop.py sshlease|aio SOCKET TARGET
    python_loop.py paramiko|asyncssh HOST PORT USER KEY KNOWN_HOSTS
"""

import asyncio
import os
import sys
import time
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "client", "python", "src"))


def serve(work):
    """"run COUNT" lines in, nanoseconds out."""
    print("ready", flush=True)
    for line in sys.stdin:
        took = []
        for _ in range(int(line.split()[1])):
            begin = time.perf_counter_ns()
            code = work()
            took.append(str(time.perf_counter_ns() - begin))
            if code != 0:
                raise SystemExit(f"python_loop: true failed: {code}")
        print(" ".join(took), flush=True)


async def serve_async(work):
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        took = []
        for _ in range(int(line.split()[1])):
            begin = time.perf_counter_ns()
            code = await work()
            took.append(str(time.perf_counter_ns() - begin))
            if code != 0:
                raise SystemExit(f"python_loop: true failed: {code}")
        print(" ".join(took), flush=True)


def through_sshlease(path, target):
    import sshlease
    with sshlease.lease(target, socket=path) as c:
        serve(lambda: c.run("true").returncode)


def through_aio(path, target):
    import sshlease.aio

    async def main():
        async with sshlease.aio.lease(target, socket=path) as c:
            async def work():
                return (await c.run("true")).returncode
            await serve_async(work)
    asyncio.run(main())


def through_paramiko(host, port, user, key, known_hosts):
    warnings.simplefilter("ignore")  # of the cryptography it imports
    import paramiko
    with paramiko.SSHClient() as client:
        client.load_host_keys(known_hosts)
        client.connect(host, int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)

        def work():
            _, stdout, stderr = client.exec_command("true")
            stdout.read()
            stderr.read()
            return stdout.channel.recv_exit_status()
        serve(work)


def through_asyncssh(host, port, user, key, known_hosts):
    warnings.simplefilter("ignore")
    import asyncssh

    async def main():
        async with asyncssh.connect(host, int(port), username=user, client_keys=[key], known_hosts=known_hosts, config=None,
                                    agent_path=None) as connection:
            async def work():
                return (await connection.run("true")).returncode
            await serve_async(work)
    asyncio.run(main())


def main():
    ways = {"sshlease": through_sshlease, "aio": through_aio, "paramiko": through_paramiko, "asyncssh": through_asyncssh}
    if len(sys.argv) < 2 or sys.argv[1] not in ways:
        raise SystemExit(__doc__)
    ways[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
