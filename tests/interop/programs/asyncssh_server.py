#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A server as asyncssh's documentation has it: commands run in a shell, joined with process.redirect(); SFTP and SCP.

    asyncssh_server.py --port N --host-key FILE --authorized-keys FILE [--rekey BYTES]
"""

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import warnings

warnings.simplefilter("ignore")
import asyncssh  # noqa: E402  pylint: disable=wrong-import-position


async def run(process):
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **process.env}
    child = await asyncio.create_subprocess_exec("/bin/sh", *(("-c", process.command) if process.command else ("-i",)),
                                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                                 env=env, start_new_session=True)
    # Not the end of whichever output ends first: the channel has one for both, and asyncssh hangs up on data after it.
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr, send_eof=False)
    ended = asyncio.ensure_future(child.wait())
    closed = asyncio.ensure_future(process.channel.wait_closed())
    await asyncio.wait((ended, closed), return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        try:
            os.killpg(child.pid, signal.SIGHUP)
        except (ProcessLookupError, PermissionError):
            pass
    status = await ended
    if closed.done():
        return
    await process.stdout.drain()
    await process.stderr.drain()
    process.exit(status if status >= 0 else 128 - status)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host-key", required=True)
    parser.add_argument("--authorized-keys", required=True)
    parser.add_argument("--rekey", type=int)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    more = {"rekey_bytes": options.rekey} if options.rekey else {}
    await asyncssh.listen("127.0.0.1", options.port, server_host_keys=[options.host_key],
                          authorized_client_keys=options.authorized_keys, process_factory=run, sftp_factory=True,
                          allow_scp=True, encoding=None, reuse_address=True, **more)
    await asyncio.Event().wait()


asyncio.run(main())
