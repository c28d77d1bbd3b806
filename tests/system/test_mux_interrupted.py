"""Transfers that are interrupted and run again at once: what a reclaimed command still writes must not come after what its
successor has written."""

import os
import signal
import subprocess

import pytest

from daemon import is_sanitized
from test_mux_tools import MIB, digest, random_file
from waiting import until

WAYS = {"partial": ["--partial"], "inplace": ["--inplace"], "delay-updates": ["--partial", "--delay-updates"]}


def interrupt(tools, number, moment, words):
    """Runs it, and sends it that signal once so many bytes have come over; answers whether it was under way."""
    process = tools.start("rsync", *words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: process.poll() is not None or moment(), "the moment", interval=0.005)
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, number)
    process.wait()
    return was_running


def bytes_there(directory):
    with os.scandir(directory) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_rsync_that_is_interrupted_and_run_again_at_once(tools, remote_dir, full, way, number):
    size = 3 * MIB
    source = random_file(f"{tools.dir}/source", size)
    moments = 20 if full else 2
    interrupted = 0
    for step in range(moments):
        there = f"{remote_dir}/{way}-{step}"
        os.mkdir(there)
        os.chmod(there, 0o777)
        after = size * (step + 1) // (moments + 2)
        words = [*WAYS[way], "--bwlimit=4000", source, f"t:{there}/file"]
        interrupted += interrupt(tools, number, lambda there=there, after=after: bytes_there(there) >= after, words)
        tools.good("rsync", *WAYS[way], source, f"t:{there}/file")
        # Whatever is still to end has ended by now, and has written what it writes.
        until(lambda: not tools.daemon.status()["leases"], "no lease left")
        tools.daemon.await_connections(draining=0, closing=0)
        assert digest(f"{there}/file") == digest(source), f"after {after} bytes"
    assert interrupted > 0 or is_sanitized()


# As rsync's receiver, borg, databases: gone at the end of input; on TERM it takes its time, and then writes.
WRITER = "trap 'sleep 0.4; echo late >{0}/file; exit 1' TERM; echo begun; cat >{0}/part"


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_a_command_sees_the_end_of_its_input_before_any_signal(tools, remote_dir, terminal):
    os.chmod(remote_dir, 0o777)
    command = WRITER.format(remote_dir) if not terminal else WRITER.format(remote_dir).replace(
        "trap", f"trap 'echo hung up >{remote_dir}/file; exit 1' HUP; trap", 1)
    with tools.start("ssh", *(["-tt"] if terminal else []), "t", command) as process:
        assert process.stdout.readline().strip() == b"begun"
        process.kill()
    until(lambda: not tools.daemon.status()["leases"], "no lease left")
    if not terminal:
        tools.good("ssh", "t", f"echo good >{remote_dir}/file")
    tools.daemon.await_connections(draining=0, closing=0)
    with open(f"{remote_dir}/file", encoding="ascii") as f:
        assert f.read() == ("hung up\n" if terminal else "good\n")
