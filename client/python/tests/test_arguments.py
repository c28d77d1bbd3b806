# SPDX-License-Identifier: MIT
"""Wrong arguments: one TypeError or ValueError that names the argument and says what would be right, before anything is
sent; and what else than the usual types is right."""

import asyncio
import pathlib

import pytest

import sshlease
import sshlease.aio
from sshlease import paramiko

NUMBER = "may be a number of seconds, such as 5 or 0.5$"
COMMAND = "may be a command line, or a list of words, which is quoted for the remote shell$"

OF_A_LEASE = [
    ({"timeout": "5"}, TypeError, f"^timeout is '5'; it {NUMBER}"),
    ({"timeout": float("nan")}, ValueError, f"^timeout is not a number; it {NUMBER}"),
    ({"timeout": -1}, ValueError, "^timeout is -1 seconds; it may be 0 to 4294966$"),
    ({"lease_timeout": True}, TypeError, f"^lease_timeout is True; it {NUMBER}"),
    ({"lease_timeout": float("inf")}, ValueError, "^lease_timeout is inf seconds; it may be 0 to 4294966$"),
    ({"label": 7}, TypeError, "^the label is 7; it may be a text$"),
    ({"socket": 7}, TypeError, "^socket is 7; it may be the path of the daemon's socket$"),
    ({"target": 42}, TypeError, "^the target's name is 42; it may be a text$"),
    ({"target": ""}, ValueError, "^the target's name has 0 bytes; it may have 1 to 255$"),
]

OF_A_COMMAND = [
    ((42,), {}, TypeError, f"^the command is 42; it {COMMAND}"),
    ((None,), {}, TypeError, f"^the command is None; it {COMMAND}"),
    ((b"true",), {}, TypeError, f"^the command is b'true'; it {COMMAND}"),
    ((["sleep", 1],), {}, TypeError, "^a word of the command is 1; words are texts$"),
    (([],), {}, ValueError, "^the command has 0 bytes"),
    (("true",), {"timeout": "5"}, TypeError, f"^timeout is '5'; it {NUMBER}"),
    (("true",), {"input": 42}, TypeError, "^input is 42; it may be a text or bytes$"),
    (("true",), {"env": ["A=b"]}, TypeError, r"^env is \['A=b'\]; it may be a dict of names and values$"),
    (("true",), {"env": {"A": 1}}, TypeError, "^env has 'A': 1; names and values are texts$"),
    (("true",), {"pty": "xterm"}, TypeError, "^pty is 'xterm'; it may be True, False, "),
    (("true",), {"pty": (80,)}, TypeError, r"^pty is \(80,\); it may be True, False, "),
]


def test_of_a_lease(daemon):
    for options, kind, text in OF_A_LEASE:
        words = {"target": "t", "socket": daemon.path, **options}
        with pytest.raises(kind, match=text):
            sshlease.lease(**words)

        async def main(words=words):
            await sshlease.aio.lease(**words)
        with pytest.raises(kind, match=text):
            asyncio.run(main())
    assert daemon.status()["leases"] == []


def test_of_a_command(c, daemon):
    for words, options, kind, text in OF_A_COMMAND:
        with pytest.raises(kind, match=text):
            c.run(*words, **options)
    with pytest.raises(TypeError, match="^the command is 42"):
        c.popen(42)
    with pytest.raises(TypeError, match="^lease_timeout is '5'"):
        c.renew("5")
    process = c.popen("cat")
    for call in (process.wait, lambda timeout: process.communicate(timeout=timeout)):
        with pytest.raises(TypeError, match="^timeout is '5'"):
            call("5")
    assert process.communicate(b"unharmed") == (b"unharmed", b"")

    async def main():
        async with sshlease.aio.lease("t", socket=daemon.path) as lease:
            for words, options, kind, text in OF_A_COMMAND:
                with pytest.raises(kind, match=text):
                    await lease.run(*words, **options)
            process = await lease.popen("cat")
            for call in (process.wait, lambda timeout: process.communicate(timeout=timeout)):
                with pytest.raises(TypeError, match="^timeout is '5'"):
                    await call("5")
            assert await process.communicate(b"unharmed") == (b"unharmed", b"")
    asyncio.run(main())


def test_in_paramikos_shape(daemon):
    with paramiko.SSHClient() as client:
        with pytest.raises(TypeError, match="^timeout is '5'"):
            client.connect("t", timeout="5", socket=daemon.path)
        client.connect("t", socket=daemon.path)
        with pytest.raises(TypeError, match="^timeout is '5'"):
            client.exec_command("true", timeout="5")


def test_paths(daemon):
    with sshlease.lease("t", socket=pathlib.Path(daemon.path)) as c:
        assert c.output(["echo", pathlib.Path("/a b")]) == "/a b\n"
