#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A crowd of clients that behave at random: lease, run commands, renew, release, vanish, hang, talk nonsense. Each is a
process of its own, forked by this one, which also kills and stops them at random. Whatever an answer says must be true.

    crowd.py SETTINGS-JSON      runs until its standard input ends, then says what happened as a line of JSON

Every lease has a label of its own, and everything started under it has LC_CHAOS=LABEL/KIND in its environment. Lines of
the journal: ["left", LABEL, COUNT], said before the release, of processes that were left running on purpose; ["closed",
LABEL/KIND], said before a stream was closed with its command running."""

import json
import os
import pwd
import random
import select
import signal
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import native                    # noqa: E402
from native import Client, Error  # noqa: E402

# What may be answered while everything around the daemon breaks.
TROUBLE = {"timeout", "queue-full", "target-down", "limit", "no-target", "no-lease", "expired", "revoked",
           "connection-lost", "stream-limit", "stream-refused", "no-stream", "busy", "cancelled", "shutdown", "connect",
           "connect-timeout", "login-timeout", "handshake", "peer-dead"}
DETACH = ">/dev/null 2>&1 </dev/null"
# Commands that go on until somebody ends them. They say "on" once all of it runs.
LASTING = {
    "sleep": "echo on; exec sleep 3600",
    "stubborn": "trap '' TERM HUP INT; echo on; while :; do sleep 0.3; done",
    "children": "sleep 3600 & sleep 3600 & echo on; wait",
    "detached": f"setsid nohup sleep 3600 {DETACH} & echo on; exec sleep 3600",
    "orphans": f"(setsid sh -c 'sleep 3600 & sleep 3600' {DETACH} &); echo on; exec sleep 3600",
    "drip": "echo on; while head -c 16384 /dev/zero; do sleep 0.05; done",
    "flood": "echo on; exec head -c 4000000 /dev/zero; sleep 3600",
    "reader": "echo on; exec cat >/dev/null",
}


class Wrong(Exception):
    """The daemon did what it must not."""


class Worker:
    """One client, in its own process: a few sessions with the daemon, then the end."""

    def __init__(self, settings, name, seed):
        self.s, self.name, self.random = settings, name, random.Random(seed)
        self.leases = 0
        self.journal = os.open(settings["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self.over = False
        signal.signal(signal.SIGUSR1, self._stop)

    def _stop(self, *_):
        self.over = True

    def chance(self, p):
        return self.random.random() < p

    def pause(self, most=0.2):
        time.sleep(self.random.random() * most)

    def run(self):
        for _ in range(self.random.randint(1, 6)):
            if self.over:
                return
            kind = self.random.choices((self.lease_session, self.nonsense, self.silence, self.ask), (12, 2, 1, 1))[0]
            try:
                kind()
            except Error as e:
                if e.name not in TROUBLE:
                    raise Wrong(f"unexpected {e}") from e

    def note(self, *words):
        os.write(self.journal, (json.dumps(words) + "\n").encode())

    # --- sessions ---

    def nonsense(self):
        """Bytes that are no protocol, or its messages in a wrong order: answered by an ERROR, or by the socket's end."""
        client = Client(self.s["socket"], hello=self.chance(0.5))
        with client:
            kind = self.random.randrange(5)
            if kind == 0:
                client.send_raw(self.random.randbytes(self.random.randint(1, 4000)))
            elif kind == 1:
                client.send_raw((1 << 31).to_bytes(4, "big") + b"\0" * 64)
            elif kind == 2:
                client.send("DATA", stream=7, fd=1, data=b"x")
            elif kind == 3:
                client.send_raw(native.frame(9999, b"?"))
            else:
                client.send_raw(native.encode("RELEASE", rid=1)[:-2])
                self.pause()
                return  # a frame that never ends
            if kind == 0:
                self.pause(0.1)  # it may be the beginning of a very long frame
                return
            try:
                client.pump(lambda: client.closed, 40)
            except Error as e:
                if e.name not in ("protocol", "limit"):
                    raise Wrong(f"nonsense {kind} was answered by {e}") from e
            else:
                raise Wrong(f"nonsense {kind} was not called a violation: {list(client.answers)}")

    def silence(self):
        with Client(self.s["socket"], hello=self.chance(0.7)):
            self.pause(1.5)

    def ask(self):
        with Client(self.s["socket"]) as client:
            json.loads(client.status())
            if self.chance(0.3):
                client.send("STATUS", rid=99)  # and does not read the answer
                self.pause(0.1)

    def lease_session(self):
        with Client(self.s["socket"]) as client:
            for _ in range(self.random.randint(1, 3)):
                if not self.lease(client) or self.over:
                    return

    # --- a lease ---

    def lease(self, client):
        """False: this session is over."""
        target = self.random.choice(self.s["targets"])
        self.leases += 1
        label = f"{self.name}.{self.leases}"
        rid = client.start_acquire(target, acquire_timeout_ms=self.random.choice((0, 0, 200, 1000, 5000)),
                                   lease_timeout_ms=self.random.choice((0, 0, 300, 1500, 60000)), label=label)
        if self.chance(0.08):
            self.pause(0.5)
            if self.chance(0.5):
                return False  # gone while it waits, or just granted
            release = client.rid()
            client.send("RELEASE", rid=release)
            client.pump(lambda: any(getattr(m, "rid", 0) == release for m in client.answers), 40)
            client.answers.clear()
            return True
        try:
            client.await_granted(rid, 40)
        except Error as e:
            if e.name not in TROUBLE:
                raise Wrong(f"acquire: unexpected {e}") from e
            self.pause()
            return True
        left = []
        try:
            for _ in range(self.random.randint(0, 5)):
                if client.ended:
                    return True
                self.work(client, label, left)
                if self.chance(0.3):
                    self.pause()
            return self.part(client, label, left)
        except Error as e:
            # A request that crossed with the lease's end.
            if e.name not in TROUBLE:
                raise Wrong(f"{label}: unexpected {e}") from e
            client.pump(lambda: client.ended or not client.lease or e.name in ("stream-limit", "stream-refused"), 40)
            return bool(client.ended)

    def work(self, client, label, left):
        kinds = (self.short, self.copy, self.last, self.leave, self.renew, self.shell, self.hush)
        self.random.choices(kinds, (6, 2, 6, 1, 2, 1, 1))[0](client, label, left)

    def env(self, label, kind):
        return [("LC_CHAOS", f"{label}/{kind}")]

    def check(self, stream, status, stdout):
        """How it ended may be unknown, but what is said has to be true."""
        end = stream.end
        if end.how == native.STATUS and (end.exit_status != status or stream.stdout != stdout):
            raise Wrong(f"status {end.exit_status} and {len(stream.stdout)} bytes instead of {status} and {len(stdout)}")
        if end.how == native.SIGNAL and end.signal != "KILL":  # a child that sshd had just forked looks like an sshd
            raise Wrong(f"said to have ended by signal {end.signal}")
        return end.how == native.STATUS

    def short(self, client, label, _):
        status = self.random.choice((0, 0, 3, 255))
        words = f"{label} {self.random.random()}"
        self.check(client.run(f"echo {words}; exit {status}", timeout=40, env=self.env(label, "short")),
                   status, words.encode() + b"\n")

    def copy(self, client, label, _):
        data = self.random.randbytes(self.random.choice((1, 5000, 300000)))
        self.check(client.run("cat", data, timeout=40, env=self.env(label, "copy")), 0, data)

    def last(self, client, label, _):
        kind = self.random.choice(list(LASTING))
        stream = client.exec(LASTING[kind], env=self.env(label, kind))
        if self.chance(0.2):
            return  # not even opened yet
        stream.await_opened(40)
        stream.on_data = lambda fd, data: None
        if self.chance(0.7):
            client.pump(lambda: stream.received or stream.end, 40)
        if self.chance(0.2):
            stream.signal(self.random.choice(("TERM", "KILL", "INT", "USR1")))
        if kind == "reader" and not stream.end:
            stream.write(bytes(100000), 40)
        if self.chance(0.3) and not stream.end:
            self.note("closed", f"{label}/{kind}")
            stream.close()
            if self.chance(0.7):
                stream.await_end(40)

    def leave(self, client, label, left):
        """Something that outlives a clean release on purpose."""
        stream = client.run(f"setsid nohup sleep 3600 {DETACH} & echo left", timeout=40, env=self.env(label, "left"))
        if self.check(stream, 0, b"left\n"):
            left.append(label)

    def renew(self, client, *_):
        client.renew(self.random.choice((0, 500, 3000, 1 << 31)))

    def shell(self, client, label, _):
        stream = client.open_stream(native.SHELL, pty=("xterm", 80, 24), env=self.env(label, "shell")).await_opened(40)
        stream.write(self.random.choice((b"sleep 3600\n", b"exit 0\n", b"sleep 3600 & sleep 3600\n", b"")), 40)
        stream.resize(100, 30)
        if self.chance(0.5):
            self.pause(0.3)

    def hush(self, client, *_):
        """Reads nothing for a while, whatever comes; perhaps until the lease runs out."""
        self.pause(self.random.choice((0.3, 0.3, 6)))

    def part(self, client, label, left):
        kind = self.random.choices(("release", "close", "nonsense", "exit", "wait"), (6, 2, 1, 1, 1))[0]
        if kind == "close":
            return False
        if kind == "nonsense":
            client.send_raw(self.random.randbytes(8))
            return False
        if kind == "exit":
            os._exit(0)
        if kind == "wait":
            client.pump(lambda: client.ended or self.over, 40)
            return bool(client.ended)
        if left:
            self.note("left", label, len(left))
        try:
            client.release(40)
        except Error as e:
            if not client.ended:
                raise
            if e.name not in TROUBLE:
                raise Wrong(f"release: unexpected {e}") from e
        return True


class Crowd:
    def __init__(self, settings):
        self.s = settings
        self.random = random.Random(f"crowd {settings['seed']}")
        self.born = 0
        self.members = {}  # pid: dict
        self.counts = dict.fromkeys(("native", "cli", "finished", "killed", "stopped"), 0)
        self.wrong = []
        self.later = []    # (when, pid, signal)
        self.user = pwd.getpwnam(settings["user"]) if os.geteuid() == 0 else None
        signal.signal(signal.SIGUSR1, lambda *_: None)  # a member that was born just now has no handler of its own yet

    def give_birth(self):
        self.born += 1
        kind = self.random.choices(("native", "cli"), (3, 1))[0]
        name = f"{self.s['name']}-{kind}{self.born}"
        seed = f"{self.s['seed']} {name}"
        output = tempfile.TemporaryFile()
        error = tempfile.TemporaryFile()
        plain = self.random.random() < 0.3
        member = {"name": name, "output": output, "error": error, "plan": None}
        if kind == "cli":
            member["plan"] = self.cli_plan(name)
        pid = os.fork()
        if pid == 0:
            self.live(member, seed, plain)
        self.counts[kind] += 1
        self.members[pid] = member
        # A third dies by SIGKILL, some hang for a while; both may come at any moment of a life.
        fate = self.random.random()
        if fate < 0.35:
            self.later.append((time.monotonic() + self.random.expovariate(1.0), pid, signal.SIGKILL))
        elif fate < 0.45:
            at = time.monotonic() + self.random.random()
            self.later += [(at, pid, signal.SIGSTOP), (at + self.random.uniform(0.1, 5), pid, signal.SIGCONT)]
        elif kind == "cli":
            self.later.append((time.monotonic() + self.random.uniform(0.5, 4),
                               pid, self.random.choice((signal.SIGINT, signal.SIGTERM))))

    def cli_plan(self, name):
        """(words, status, stdout) of an `sshlease exec`; None where only its end counts."""
        target = self.random.choice(self.s["targets"])
        head = ["exec", "--label", name, "-e"]
        kind = self.random.randrange(3)
        if kind == 0:
            status = self.random.choice((0, 4, 77))
            return head + [f"LC_CHAOS={name}/short", target, "--", f"echo {name}; exit {status}"], status, f"{name}\n"
        if kind == 1:
            return head + [f"LC_CHAOS={name}/cat", target, "--", "cat"], 0, "from standard input"
        which = self.random.choice(list(LASTING))
        return head + [f"LC_CHAOS={name}/{which}", "-n", target, "--", LASTING[which]], None, None

    def live(self, member, seed, plain):
        """The child."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            if plain and self.user is not None:
                os.setgroups([])
                os.setgid(self.user.pw_gid)
                os.setuid(self.user.pw_uid)
            os.dup2(member["error"].fileno(), 2)
            os.dup2(member["output"].fileno(), 1)
            if member["plan"] is not None:
                read, write = os.pipe()
                os.write(write, b"from standard input")
                os.close(write)
                os.dup2(read, 0)
                os.execve(self.s["cli"], [self.s["cli"], *member["plan"][0]],
                          {**os.environ, "SSHLEASE_SOCKET": self.s["socket"]})
            os.close(0)
            Worker(self.s, member["name"], seed).run()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def bury(self, pid, status):
        member = self.members.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        texts = []
        for f in (member["output"], member["error"]):
            f.seek(0)
            texts.append(f.read().decode(errors="replace"))
            f.close()
        if "Sanitizer" in texts[1] or "runtime error:" in texts[1]:
            self.wrong.append(f"{member['name']}: {texts[1]}")
        elif code < 0:
            self.counts["killed"] += 1
            if -code not in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
                self.wrong.append(f"{member['name']} died of signal {-code}: {texts[1]}")
        elif member["plan"] is None:
            self.counts["finished"] += 1
            if code != 0 and not member.get("stopping"):
                self.wrong.append(f"{member['name']}: {texts[1]}")
        else:
            self.counts["finished"] += 1
            words, expected, stdout = member["plan"]
            signalled = member.get("signalled", False)
            # 255 says that it failed, and a signal may have ended it; but what is said to have ended well must have.
            lied = texts[0] != stdout if code == expected else code != 255 and not signalled
            if expected is not None and lied:
                self.wrong.append(f"{member['name']}: {words} ended with {code} and {texts[0]!r}: {texts[1]}")
            elif code == 255 and not signalled and not texts[1].strip():
                self.wrong.append(f"{member['name']}: {words} failed without a word")

    def reap(self):
        while self.members:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.bury(pid, status)

    def signal(self, pid, number):
        if pid in self.members:
            self.members[pid]["signalled"] = True
            self.counts["stopped"] += number == signal.SIGSTOP
            os.kill(pid, number)  # not waited for yet, so its number is still its own

    def tick(self):
        now = time.monotonic()
        due = [x for x in self.later if x[0] <= now]
        self.later = [x for x in self.later if x[0] > now]
        for _, pid, number in sorted(due):
            self.signal(pid, number)
        self.reap()

    def run(self):
        while not select.select([0], [], [], 0.02)[0]:
            while len(self.members) < self.s["size"]:
                self.give_birth()
            self.tick()
        if os.read(0, 100).startswith(b"abandon"):
            # The daemon is being ended under them: whatever they see of it is no fault.
            for member in self.members.values():
                member["stopping"] = True
            print("abandoned", flush=True)
        else:
            self.disperse()
        self.end()

    def disperse(self):
        """Half of them stop where they are, half may finish."""
        self.later.clear()
        for pid, member in self.members.items():
            os.kill(pid, signal.SIGCONT)
            gentle = member["plan"] is None and self.random.random() < 0.5
            member["signalled"] = True
            os.kill(pid, signal.SIGUSR1 if gentle else signal.SIGKILL)

    def end(self):
        deadline = time.monotonic() + 60
        while self.members and time.monotonic() < deadline:
            self.tick()
            time.sleep(0.02)
        for pid, member in list(self.members.items()):
            if not member.get("stopping"):
                self.wrong.append(f"{member['name']} did not come to an end")
            os.kill(pid, signal.SIGKILL)
            self.bury(pid, os.waitpid(pid, 0)[1])
        print(json.dumps({"counts": self.counts, "wrong": self.wrong}), flush=True)


if __name__ == "__main__":
    Crowd(json.loads(sys.argv[1])).run()
