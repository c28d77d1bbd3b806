#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""asyncio: the same command on many targets at once, each given so many seconds. Those that take longer are ended.

    many_at_once.py SECONDS COMMAND TARGET...
"""

import asyncio
import sys

import sshlease
import sshlease.aio


async def ask(target, command, seconds):
    try:
        async with sshlease.aio.lease(target, timeout=seconds) as c:
            result = await c.run(command, timeout=seconds)
            return result.stdout if result.succeeded else f"exit status {result.returncode}: {result.stderr}"
    except sshlease.SshleaseError as e:
        return f"{type(e).__name__}: {e}\n"


async def main(seconds, command, *targets):
    answers = await asyncio.gather(*(ask(target, command, float(seconds)) for target in targets))
    for target, answer in zip(targets, answers):
        print(f"{target}: {answer}", end="")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
