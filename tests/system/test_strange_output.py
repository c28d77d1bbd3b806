# SPDX-License-Identifier: MIT
"""Extended data that is not standard error's (RFC 4254, section 5.2, leaves other types to whoever wants them): it is
dropped, and neither the end of the output nor the window may hang on it."""

import asyncio

import pytest

import large_packets

TYPE = 7
WINDOW = 2 << 20


# The server's own write() knows the names of types.
# pylint: disable=protected-access


async def _run(process):
    """`strange N`: so many bytes of it, then a line on each output, then the end with status 3."""
    channel, left = process.channel, int(process.command.split()[1])
    await asyncio.sleep(0)  # the answer to the request first
    channel._send_buf.append((bytearray(left), TYPE))
    channel._send_buf_len += left
    channel._flush_send_buf()
    process.stderr.write(b"err\n")
    process.stdout.write(b"out\n")
    process.exit(3)


@pytest.fixture
def daemon(make_daemon, target, keys):
    server = large_packets.Server(keys, "aes128-ctr", "hmac-sha2-256", run=_run)
    yield make_daemon({"targets": {"t": target(server)}})
    server.stop()


@pytest.mark.parametrize("count", [1, 100000, 3 * WINDOW])
def test_it_is_dropped(daemon, count):
    for _ in range(2):
        done = daemon.cli("exec", "t", "--", f"strange {count}", timeout=20)
        assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert len(daemon.log.matches("gone -> dialing")) == 1
