# SPDX-License-Identifier: MIT
"""Many ssh at once at the mux sockets, killed, signalled and cut off at any moment: nothing may be left behind.
SSHLEASE_SEED=N repeats what was chosen, if not the moments."""

import contextlib
import os
import random
import signal
import subprocess
import time

import procs
from sshd import free_port
from waiting import until

COMMANDS = ["true", "echo hi", "head -c 300000 /dev/zero", "cat", "sleep 0.3", "cat; sleep 0.2", "exit 3",
            "head -c 1000000 /dev/zero >&2"]
ENDS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, "stdin", "stdout"]
AT_ONCE = 8


class Victim:
    def __init__(self, tools, chance):
        options = chance.choice([[], [], ["-tt"], ["-L", f"{free_port()}:localhost:22"]])
        self.process = tools.start(
            "ssh", *options, chance.choice("tu"), chance.choice(COMMANDS), stderr=subprocess.DEVNULL,
            **{name: chance.choice([subprocess.DEVNULL, subprocess.PIPE]) for name in ("stdin", "stdout")})
        self.ends = chance.sample(ENDS, len(ENDS))
        self.due = time.monotonic() + chance.uniform(0, 0.6)

    def gone(self):
        """Does the next bad thing to it when that is due. True when it has ended."""
        if self.process.poll() is None and time.monotonic() > self.due:
            end = self.ends.pop() if self.ends else signal.SIGKILL
            self.due += 0.3
            if not isinstance(end, str):
                self.process.send_signal(end)
            elif getattr(self.process, end) is not None:
                getattr(self.process, end).close()
        return self.process.poll() is not None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def test_a_storm(make_tools, sshd, target, full):
    seed = int(os.environ.get("SSHLEASE_SEED", random.randrange(1 << 30)))
    print("SSHLEASE_SEED =", seed)
    chance = random.Random(seed)
    tools = make_tools({"t": target(sshd, max_connections=3, kill_grace="100ms", acquire_timeout="2s"),
                        "u": target(sshd, max_connections=2, sharing=2, kill_grace="100ms")})
    for name in "tu":
        tools.good("ssh", name, "true")
    fds = procs.fd_count(tools.daemon.pid)
    connections = 3 + 2 - 2  # more than there are now
    end = time.monotonic() + (60 if full else 6)
    victims, codes = [], set()
    while time.monotonic() < end or victims:
        if time.monotonic() < end and len(victims) < AT_ONCE:
            victims.append(Victim(tools, chance))
        for one in [v for v in victims if v.gone()]:
            codes.add(one.process.returncode)
            one.close()
            victims.remove(one)
        time.sleep(0.005)
    assert {0, -signal.SIGKILL} <= codes
    tools.await_leases(0)
    tools.await_leases(0, state="waiting")
    for name in "tu":
        assert tools.good("ssh", name, "echo fine") == b"fine\n"
    sshd.await_nothing_remote()
    until(lambda: procs.fd_count(tools.daemon.pid) <= fds + connections, "no descriptor is left behind")
