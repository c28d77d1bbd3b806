# SPDX-License-Identifier: MIT
"""What a server may say and sshd never does: extended data that is not standard error's, which is dropped, and neither the
end of the output nor the window may hang on it; exit statuses beyond a byte."""

import asyncio

import pytest

import large_packets

TYPE = 7
WINDOW = 2 << 20


# The server's own write() knows the names of types, its exit() a byte.
# pylint: disable=protected-access


async def _run(process):
    """`strange N`: so many bytes of it, then a line on each output, then the end with status 3. `exit N`: just that."""
    channel, word, left = process.channel, process.command.split()[0], int(process.command.split()[1])
    await asyncio.sleep(0)  # the answer to the request first
    if word == "exit":
        channel._send_request(b"exit-status", left.to_bytes(4, "big"))
        channel.close()
        return
    channel._send_buf.append((bytearray(left), TYPE))
    channel._send_buf_len += left
    channel._flush_send_buf()
    process.stderr.write(b"err\n")
    process.stdout.write(b"out\n")
    process.exit(3)


@pytest.fixture
def server(keys):
    one = large_packets.Server(keys, "aes128-ctr", "hmac-sha2-256", run=_run)
    yield one
    one.stop()


@pytest.mark.parametrize("count", [1, 100000, 3 * WINDOW])
def test_it_is_dropped(make_daemon, target, server, count):
    daemon = make_daemon({"targets": {"t": target(server)}})
    for _ in range(2):
        done = daemon.cli("exec", "t", "--", f"strange {count}", timeout=20)
        assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert len(daemon.log.matches("gone -> dialing")) == 1


@pytest.mark.parametrize("status, shown", [(0, 0), (3, 3), (256, 255), (257, 1), (0xffffff00, 255), (0xffffffff, 255)])
def test_a_status_beyond_a_byte_is_no_success(make_tools, target, server, status, shown):
    """Programs end with eight bits of it."""
    tools = make_tools({"t": target(server)})
    for done in (tools.run("ssh", "t", f"exit {status}"), tools.daemon.cli("exec", "t", "--", f"exit {status}")):
        assert done.returncode == shown
        assert (b"the command's exit status is 256" in done.stderr) == (status == 256)
