# SPDX-License-Identifier: MIT
"""Who is asked about a mutant, in which order: units of its room, other units, system tests."""

import os
import re
import time

from places import room_of

# The units of a room, where they have another name.
UNITS = {"cli": "client", **dict.fromkeys(("keys", "session", "login", "channel", "reclaim"), "ssh"),
         **dict.fromkeys(("native", "mux", "forward"), "front")}
# They look at the source, and at mutants of their own.
NOT_ASKED = re.compile(r"structure\.|sim\.mutants")
# Which system tests concern a file or a room; the longest name that fits counts.
CONCERNED = {
    "base": ("daemon", "cli"),
    "client": ("cli", "streams"),
    "client/cli": ("cli", "mux_config"),
    "client/cli/escape": ("cli_escape",),
    "client/cli/tty": ("cli_escape",),
    "config": ("cli", "modes", "names", "auth", "hostkeys", "algorithms"),
    "config/diff": ("targets", "repairs"),
    "config/read": ("daemon", "modes", "cli"),
    "daemon": ("daemon", "modes", "place", "live_on"),
    "daemon/app/config": ("targets", "repairs", "daemon"),
    "daemon/core": ("pool", "sharing", "targets"),
    "daemon/front": ("mux", "protocol"),
    "daemon/front/forward": ("mux_forward", "mux_tunnel"),
    "daemon/front/mux": ("mux", "mux_control", "mux_terminals", "mux_config"),
    "daemon/front/native": ("protocol", "streams", "cli"),
    "daemon/front/native/native": ("protocol", "hostile"),
    "daemon/lease": ("pool", "sharing", "targets", "names"),
    "daemon/lease/basis": ("repairs",),
    "daemon/lease/reclaim": ("reclaim", "pool"),
    "daemon/net": ("daemon", "modes", "place"),
    "daemon/net/dial": ("unreachable", "daemon"),
    "daemon/net/dir_watch": ("place",),
    "daemon/net/fd_": ("hostile", "mux_output", "mux"),
    "daemon/net/hang_jobs": ("daemon", "unreachable", "hostile"),
    "daemon/net/listener_tcp": ("mux_forward",),
    "daemon/net/socket": ("protocol", "hostile", "mux"),
    "daemon/net/tty": ("mux_terminals", "mux"),
    "daemon/net/watch": ("mux", "mux_output"),
    "daemon/relay": ("mux", "mux_output", "cli"),
    "daemon/ssh": ("auth", "pool", "servers"),
    "daemon/ssh/basis": ("repairs",),
    "daemon/ssh/channel": ("streams", "servers", "edges", "sharing"),
    "daemon/ssh/channel/stream_run": ("mux_interrupted", "streams", "servers"),
    "daemon/ssh/channel/forward": ("mux_forward", "mux_tunnel"),
    "daemon/ssh/channel/nobody": ("mux_forward",),
    "daemon/ssh/channel/remote": ("mux_forward",),
    "daemon/ssh/keys": ("auth", "logins", "memory_of_secrets"),
    "daemon/ssh/keys/algorithms": ("algorithms",),
    "daemon/ssh/keys/basis": ("repairs",),
    "daemon/ssh/keys/hostkey": ("hostkeys",),
    "daemon/ssh/keys/kexinit": ("algorithms",),
    "daemon/ssh/keys/known_hosts": ("hostkeys",),
    "daemon/ssh/login": ("auth", "logins"),
    "daemon/ssh/reclaim": ("reclaim", "edges"),
    "daemon/ssh/session": ("servers", "streams", "algorithms", "pool"),
    "daemon/ssh/session/compat": ("servers", "reclaim"),
    "proto": ("protocol", "streams"),
    "proto/muxmsg": ("mux", "mux_control"),
    "proto/tty_modes": ("cli", "mux_terminals"),
}
STAGES = ("units", "room", "all")  # how far a mutant is asked about


def concerned(file):
    names = [name for name in CONCERNED if file.startswith(name)]
    return [f"test_{test}.py" for test in CONCERNED[max(names, key=len)]] if names else []


class Judge:
    """One tree and what is found out in it."""

    def __init__(self, tree, limit):
        self.tree, self.limit = tree, limit

    def baseline(self):
        """The unit that fails without any mutant, or None."""
        return self.tree.ctest([test for test in self.tree.tests if not NOT_ASKED.match(test)])

    def ask(self, place, text, stages, first=None):
        """(outcome, what caught it): "units", "system", "survived"; "no build" is no mutant; "unclear": its time was up. First
        it asks the test that caught it before, where there is one."""
        self.tree.until = time.monotonic() + self.limit * len(stages)
        self.tree.path(place.file).write_text(place.apply(text))
        try:
            if first and (caught := self.once_more(first)):
                return caught
            for stage in stages:
                caught = self.units(room_of(place.file)) if stage == "units" else self.system(place.file, stage)
                if caught:
                    return caught
                if time.monotonic() >= self.tree.until:
                    return "unclear", None
        finally:
            self.tree.path(place.file).write_text(text)
        return "survived", None

    def once_more(self, test):
        if test in self.tree.tests:
            program = self.tree.tests[test]
            targets = [program] if program in self.tree.unchanged else ["all"]
            return ("units", test) if self.tree.build(*targets)[0] == 0 and self.tree.ctest([test], again=0) else None
        if test.startswith("tests/system"):
            return ("system", test) if self.tree.build("all")[0] == 0 and self.tree.system([test], again=0) else None
        return None

    def units(self, room):
        name = room.rpartition("/")[2]
        name = UNITS.get(name, name)
        begins = f"unit_{name}_"
        own = {p for p in self.tree.unchanged if p.startswith((begins, "sim_") if name == "core" else begins)}
        asked = set()
        for targets in (own, {"all"}):
            if targets and self.tree.build(*sorted(targets))[0] != 0:
                return "no build", None
            changed = self.tree.changed()
            tests = {test for test, program in self.tree.tests.items() if not NOT_ASKED.match(test)
                     and (program in changed & own if "all" not in targets else
                          program in changed or program not in self.tree.unchanged or
                          (test.startswith("unit.client.") and any("sshlease" in c for c in changed)))} - asked
            asked |= tests
            if failed := self.tree.ctest(tests):
                return "units", failed
        return None

    def system(self, file, stage):
        if self.tree.build("all")[0] != 0:
            return "no build", None
        tests = concerned(file)
        if stage == "all":
            every = sorted(f for f in os.listdir(self.tree.path("tests/system")) if re.fullmatch(r"test_\w+\.py", f))
            tests = [f for f in every if f not in tests]
        failed = self.tree.system([f"tests/system/{f}" for f in tests]) if tests else None
        return ("system", failed) if failed else None
