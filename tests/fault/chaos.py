#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Everything goes wrong at once, at random, and nothing may be left behind.

    chaos.py [--seconds N] [--seed N] [--size CLIENTS] [--pace-ms N] [--log FILE]      ends with 0 when all was well

A real sshleased with several targets behind bad networks; a crowd of clients (crowd.py); and a schedule, made from the
seed and printed, of what is done to servers, networks, leases and the configuration. Then the disturbance ends, and:
no lease and no connection in use is left; every process on the far side that is left is one that the log says could
not be ended, or that was left on purpose before a clean release, and those are all still there; file descriptors are
back to where they began, memory nearly; every target serves again; and SIGTERM under a new crowd ends it all in order."""

import argparse
import collections
import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "system")]

import account as accounts        # noqa: E402
import daemon as daemons          # noqa: E402
import procs                      # noqa: E402
from native import Client, Error  # noqa: E402
from proxy import DOWN, UP, Proxy  # noqa: E402
from sshd import Keys, Sshd       # noqa: E402
from waiting import NotInTime, until  # noqa: E402

ANSWER_MAX = 10.0           # seconds the daemon may take for a STATUS, with a sanitizer on a busy machine
MEMORY_GROWTH = 48 << 20    # bytes
FAST = {
    "max_connections": 3, "idle_timeout": "1500ms", "max_lifetime": "8s", "lease_timeout": "3s", "max_lease": "6s",
    "acquire_timeout": "4s", "acquire_notice": "300ms", "kill_grace": "300ms", "connect_timeout": "2s",
    "login_timeout": "5s", "server_alive_interval": "1s", "server_alive_count_max": 2, "validate_after": "500ms",
    "validate_timeout": "1s", "retry_min": "50ms", "retry_max": "500ms", "auth_retry": "500ms", "waiters": 30,
}
LIMITS = {"clients": 60, "connections": 20, "handshakes": 8, "shutdown_drain": "700ms"}
GREETINGS = ("HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-1.5-old\r\n", "\0" * 3000, "x" * 20000, "")
CHANGES = (  # of a target, by a reload
    {}, {"max_connections": 1}, {"max_connections": 6}, {"min_idle": 2}, {"lease_timeout": "1s"}, {"streams": 2},
    {"identity": "ecdsa"}, {"direct": True}, {"owners": "shared"}, {"remote_cleanup": "signal"}, {"gone": True},
    {"host": "localhost"}, {"idle_timeout": "200ms"}, {"waiters": 3}, {"handshakes": 1},
)
LIMIT_CHANGES = ({}, {"clients": 12}, {"clients": 500}, {"connections": 2}, {"connections": 60}, {"handshakes": 1})


class Site:
    """One server with a network before it, and a target of its name."""

    def __init__(self, name, keys, account, directory, options=(), **more):
        self.name, self.keys, self.account = name, keys, account
        self.sshd = Sshd(keys, account, options, root=more.pop("root", False))
        self.proxy = Proxy(self.sshd.host, self.sshd.port)
        self.more = more
        self.known_hosts = os.path.join(directory, f"known_hosts.{name}")
        with open(self.known_hosts, "w", encoding="ascii") as f:
            for port in (self.proxy.port, self.sshd.port):
                for host in ("127.0.0.1", "localhost"):
                    f.write(self.sshd.known_hosts_line(f"[{host}]:{port}"))

    def target(self, **changes):
        base = {"host": "127.0.0.1", "port": self.proxy.port, "user": self.sshd.user, "identity_file": self.keys.ed25519,
                "user_known_hosts_file": self.known_hosts, "allow": {"users": sorted({"root", self.account.pw_name})}}
        return {**base, **FAST, **self.more, **changes}

    def heal(self):
        self.proxy.thaw()
        self.proxy.delay.update({UP: 0.0, DOWN: 0.0})
        self.proxy.loss, self.proxy.greeting, self.proxy.black_hole = 0.0, None, False
        self.proxy.corrupt.clear()
        self.sshd.signal_sessions(signal.SIGCONT)
        if self.sshd.process.poll() is not None:
            self.sshd.start()

    def stop(self):
        self.proxy.stop()
        self.sshd.stop()


def schedule(seed, seconds, pace_ms, sites):
    """What happens when, from the seed alone: lines of (milliseconds, a method of Chaos, a site's name, arguments…)."""
    r = random.Random(f"schedule {seed}")
    what = {  # how often, and with which arguments
        "kill_session": (5, lambda: (r.random(),)),
        "stop_session": (4, lambda: (r.random(), r.choice((100, 700, 2500, 6000)))),
        "cut": (3, lambda: ()),
        "freeze": (4, lambda: (r.choice(((UP,), (DOWN,), (UP, DOWN))), r.choice((50, 400, 1200, 5000)))),
        "delay": (2, lambda: (r.choice((0, 2, 20, 80)),)),
        "lossy": (1, lambda: (r.choice((0, 0.02, 0.2)),)),
        "black_hole": (1, lambda: (r.choice((300, 1500, 3000)),)),
        "garbage": (1, lambda: (r.choice(GREETINGS), r.choice((300, 1500)))),
        "corrupt": (2, lambda: (r.choice((UP, DOWN)), r.choice((1, 3)))),
        "restart_sshd": (2, lambda: (r.choice((0, 200, 1500)),)),
        "revoke": (6, lambda: (r.random(),)),
        "reload": (4, lambda: (r.choice(CHANGES),)),
        "reload_bad": (1, lambda: ()),
        "hangups": (1, lambda: ()),
        "limits": (2, lambda: (r.choice(LIMIT_CHANGES),)),
        "stop_daemon": (1, lambda: (r.choice((200, 1500, 4000)),)),
        "few_files": (1, lambda: (r.choice((0, 3, 8)), r.choice((300, 1500)))),
    }
    at, lines = 1000.0, []
    while at < seconds * 1000:
        name = r.choices(list(what), [weight for weight, _ in what.values()])[0]
        lines.append((int(at), name, r.choice(sites), *what[name][1]()))
        at += r.expovariate(1 / pace_ms)
    return lines


class Chaos:
    def __init__(self, seconds, seed, keys, account, size=12, pace_ms=180.0, say=print):
        self.seconds, self.seed, self.size, self.pace_ms, self.say = seconds, seed, size, pace_ms, say
        self.keys, self.account = keys, account
        self.random = random.Random(f"chaos {seed}")
        self.dir = tempfile.TemporaryDirectory(prefix="sshlease-chaos.")
        os.chmod(self.dir.name, 0o755)
        self.journal = os.path.join(self.dir.name, "journal")
        with open(self.journal, "w", encoding="ascii"):
            os.chmod(self.journal, 0o666)
        self.sites, self.later = {}, []
        self.changes, self.limit_changes = {}, {}
        self.answers = []    # seconds each STATUS took
        self.problems = []
        self.watching = threading.Event()
        self.done = collections.Counter()
        self.replaced = set()  # names of targets that were taken out of the configuration once
        self.daemon = self.files = None

    # --- the world ---

    def build(self):
        self.sites = {"plain": Site("plain", self.keys, self.account, self.dir.name),
                      "tight": Site("tight", self.keys, self.account, self.dir.name, ["MaxSessions 3", "RekeyLimit 1M"],
                                    max_connections=2)}
        if os.geteuid() == 0:
            self.sites["root"] = Site("root", self.keys, self.account, self.dir.name, root=True)
        self.daemon = daemons.Daemon(self.config(), args=["--log-level", "debug"])
        self.files = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)

    def config(self):
        targets = {}
        for name, site in self.sites.items():
            changes = dict(self.changes.get(name, {}))
            if changes.pop("gone", False):
                continue
            if changes.pop("identity", None):
                changes["identity_file"] = self.keys.ecdsa
            if changes.pop("direct", False):
                changes["port"] = site.sshd.port
            targets[name] = site.target(**changes)
        return {"limits": {**LIMITS, **self.limit_changes}, "targets": targets}

    def crowd(self, seed, name):
        settings = {"name": name, "socket": self.daemon.path, "cli": daemons.program("sshlease"), "seed": seed,
                    "size": self.size, "targets": [*self.sites, *self.sites, "none"], "journal": self.journal,
                    "user": self.account.pw_name}
        env = {**os.environ, **daemons.sanitizer_env()}
        return subprocess.Popen([sys.executable, os.path.join(HERE, "crowd.py"), json.dumps(settings)], env=env,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def disperse(self, crowd, how="stop\n"):
        out, _ = crowd.communicate(how, timeout=90)
        result = json.loads(out)
        self.problems += result["wrong"]
        return result["counts"]

    # --- disturbances: each is called with its site, and what the schedule chose ---

    def after(self, ms, function, *args):
        self.later.append((time.monotonic() + ms / 1000, function, args))

    def session(self, site, which):
        sessions = sorted(site.sshd.sessions()) if site.sshd.process.poll() is None else []
        return sessions[int(which * len(sessions))] if sessions else None

    @staticmethod
    def _kill(pid, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill_session(self, site, which):
        pid = self.session(site, which)
        if pid:
            self._kill(pid, signal.SIGKILL)

    def stop_session(self, site, which, ms):
        pid = self.session(site, which)
        if pid:
            self._kill(pid, signal.SIGSTOP)
            self.after(ms, self._cont, pid)

    def _cont(self, pid):
        if procs.cmdline(pid).startswith(("sshd", "/usr/sbin/sshd")):
            self._kill(pid, signal.SIGCONT)

    def cut(self, site):
        site.proxy.cut()

    def freeze(self, site, directions, ms):
        site.proxy.freeze(*directions)
        self.after(ms, site.proxy.thaw)

    def delay(self, site, ms):
        site.proxy.delay.update({UP: ms / 1000, DOWN: ms / 1000})

    def lossy(self, site, loss):
        site.proxy.loss = loss

    def black_hole(self, site, ms):
        site.proxy.black_hole = True
        self.after(ms, setattr, site.proxy, "black_hole", False)

    def garbage(self, site, text, ms):
        site.proxy.greeting = text.encode()
        self.after(ms, setattr, site.proxy, "greeting", None)

    def corrupt(self, site, direction, chunks):
        site.proxy.corrupt[direction] = chunks

    def restart_sshd(self, site, ms):
        if site.sshd.process.poll() is None:
            site.sshd.kill()
            self.after(ms, self._start_sshd, site)

    @staticmethod
    def _start_sshd(site):
        if site.sshd.process.poll() is not None:
            site.sshd.start()

    def revoke(self, _, which):
        with Client(self.daemon.path) as client:
            leases = json.loads(client.status())["leases"]
            if leases:
                with contextlib.suppress(Error):  # it may have ended meanwhile
                    client.end(leases[int(which * len(leases))]["id"])

    def _reload(self):
        config = self.config()
        self.daemon.write_config(config)
        # Changes made at random may not go together.
        spare = sum(t.get("min_idle", 0) for t in config["targets"].values())
        refused = spare > config["limits"]["connections"]
        with Client(self.daemon.path) as client:
            try:
                client.reload()
            except Error as e:
                if not refused or e.name != "config":
                    raise
            else:
                if refused:
                    self.problems.append(f"min_idle of {spare} was taken under {config['limits']}")

    def reload(self, site, changes):
        self.changes[site.name] = changes
        if "gone" in changes:
            self.replaced.add(site.name)
        self._reload()

    def limits(self, _, changes):
        self.limit_changes = changes
        self._reload()

    def reload_bad(self, _):
        self.daemon.write_config_text("targets: {plain: {max_connections: many}}\nlimits: [1]\n")
        try:
            with Client(self.daemon.path) as client:
                client.reload()
            self.problems.append("a bad configuration was taken")
        except Error as e:
            if e.name not in ("config", "limit"):
                raise
        self.daemon.write_config(self.config())

    def hangups(self, _):
        for _ in range(20):
            self.daemon.signal(signal.SIGHUP)

    def stop_daemon(self, _, ms):
        """As on a machine that swaps, or was suspended: when it goes on, all deadlines have passed at once."""
        self.daemon.signal(signal.SIGSTOP)
        time.sleep(ms / 1000)
        self.daemon.signal(signal.SIGCONT)

    def few_files(self, _, more, ms):
        """File descriptors run out."""
        least = procs.fd_count(self.daemon.pid) + more
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (least, self.files[1]))
        self.after(ms, resource.prlimit, self.daemon.pid, resource.RLIMIT_NOFILE, self.files)

    # --- running ---

    def run_later(self):
        now = time.monotonic()
        due, self.later = ([x for x in self.later if x[0] <= now], [x for x in self.later if x[0] > now])
        for _, function, args in due:
            function(*args)

    def disturb(self):
        begin = time.monotonic()
        for at, name, site, *args in schedule(self.seed, self.seconds, self.pace_ms, list(self.sites)):
            self.say(f"[{at:6d}] {name} {site} {' '.join(repr(a)[:60] for a in args)}".rstrip())
            while time.monotonic() - begin < at / 1000:
                self.run_later()
                time.sleep(0.01)
            assert self.daemon.process.poll() is None, "sshleased has ended"
            try:
                getattr(self, name)(self.sites[site], *args)
            except Error as e:
                # So many clients that there is no room for an administrator, or files cannot be read just now.
                if e.name != "limit" and "Too many open files" not in e.text:
                    raise
            self.done[name] += 1

    def watch(self):
        """In a thread: the daemon answers always, and what it says of itself fits."""
        while not self.watching.wait(0.2):
            begin = time.monotonic()
            try:
                with Client(self.daemon.path, timeout=ANSWER_MAX) as client:
                    status = json.loads(client.status())
            except Error as e:
                if e.name != "limit":
                    self.problems.append(f"status: {e}")
                continue
            except Exception as e:
                if not self.watching.is_set():
                    self.problems.append(f"status: {e!r}")
                return
            self.answers.append(time.monotonic() - begin)
            leased = collections.Counter(x["target"] for x in status["leases"] if x["state"] == "granted")
            for target in status["targets"]:
                leases, connections = leased[target["name"]], target["connections"]["leased"]
                # A target that was taken out of the configuration keeps its leases; one of its name may come after it.
                moving = target["waiters"]  # leases on their way to another connection are among those who wait
                if not connections <= leases <= connections + moving and (
                        connections > leases or target["name"] not in self.replaced):
                    self.problems.append(f"{leases} leases, but {target}")

    def calm(self):
        """The disturbance ends, and everything comes back to rest."""
        for _, function, args in self.later:
            function(*args)
        self.later.clear()
        for site in self.sites.values():
            site.heal()
        self.changes, self.limit_changes = {}, {}
        self._reload()
        self.await_rest()

    def await_rest(self):
        last = {}

        def rest():
            last.update(self.daemon.status())
            return not last["leases"] and not any(sum(t["connections"].values()) for t in last["targets"])
        until(rest, lambda: "rest, with nothing leased and idle connections closed; there is " + json.dumps(last), 40,
              interval=0.1)
        for site in self.sites.values():
            until(lambda s=site: not s.sshd.sessions(), f"{site.name}'s sshd without sessions", 20, interval=0.1)

    def serve(self):
        for name in self.sites:
            with Client(self.daemon.path) as client:
                client.acquire(name, timeout=30)
                end = client.run(f"echo {name}; exit 5")
                assert (end.stdout.decode(), end.end.exit_status) == (f"{name}\n", 5), f"{name} does not serve: {end.end}"
                client.release()

    # --- the account ---

    def logged(self):
        """What the log says: {label: lease}; leases that were released clean, those of which something could not be ended,
        and those after which only signals were sent, as their target's remote_cleanup had it."""
        labels, clean, incomplete, unswept = {}, set(), set(), set()
        reclaimed = set()
        for line in self.daemon.log.lines:
            m = re.search(r" ?lease=(\d+) .*label=\"?([^\" ]*)\"? (\w+) -> (\w+)", line)
            if m:
                if m[4] == "granted":
                    labels[m[2]] = int(m[1])
                if m[4] == "released":
                    clean.add(int(m[1]))
            m = re.search(r"reclaim.*lease=(\d+) .*remaining=(\d+)|reclaim.*lease=(\d+) ", line)
            if m:
                lease = int(m[1] or m[3])
                if lease in reclaimed:
                    self.problems.append(f"told twice: {line}")
                reclaimed.add(lease)
                if " text=" in line or int(m[2] or 0) > 0:
                    incomplete.add(lease)
                elif "sweep=none" in line:
                    unswept.add(lease)
        return labels, clean - reclaimed, incomplete, unswept

    def check_far_side(self, crowd):
        labels, clean, incomplete, unswept = self.logged()
        with open(self.journal, encoding="ascii") as f:
            notes = [json.loads(line) for line in f]
        left = {n[1]: n[2] for n in notes if n[0] == "left" and n[1].startswith(crowd)}
        closed = {n[1] for n in notes if n[0] == "closed"}
        there, found = collections.Counter(), collections.Counter()
        for site in self.sites.values():
            for pid in site.sshd.remote():
                mark, words = procs.environ(pid).get(b"LC_CHAOS", b"").decode(), procs.cmdline(pid)
                label, _, kind = mark.partition("/")
                lease = labels.get(label)
                if lease in incomplete:
                    found["could not be ended, as logged"] += 1
                elif lease in clean and kind == "left":
                    there[label] += 1
                    found["left on purpose"] += 1
                elif lease in unswept and kind in ("left", "detached", "orphans", "shell"):
                    found["not swept, as configured"] += 1
                elif lease in clean and (mark in closed or kind in ("detached", "orphans")):
                    found["of a stream that ended before a clean release"] += 1
                elif procs.alive(pid):
                    self.problems.append(f"left behind on {site.name}: {pid} {words!r} mark={mark!r} lease={lease}")
        for label, count in left.items():
            if labels.get(label) in clean and there[label] != count:
                self.problems.append(f"lease {labels[label]} {label} was released clean, but of {count} processes it left "
                                     f"on purpose {there[label]} are there")
        counters = self.daemon.status()["counters"] if self.daemon.process.poll() is None else None
        lines = len([x for x in self.daemon.log.lines if re.search(r"reclaim.* (text=|remaining=[1-9])", x)])
        if counters and counters["reclaim_incomplete"] != lines:
            self.problems.append(f"{lines} clean-ups are logged as incomplete, {counters['reclaim_incomplete']} counted")
        return dict(found), counters

    def clear_far_side(self):
        for site in self.sites.values():
            for pid in site.sshd.remote():
                self._kill(pid, signal.SIGKILL)

    def finish(self):
        """SIGTERM while a new crowd is at work."""
        crowd = self.crowd(f"{self.seed} end", "z")
        until(lambda: any(x["state"] == "granted" for x in self.daemon.status()["leases"]), "leases of the last crowd", 20)
        time.sleep(self.random.random())
        self.watching.set()
        crowd.stdin.write("abandon\n")
        crowd.stdin.flush()
        crowd.stdout.readline()
        if self.random.random() < 0.5:
            next(iter(self.sites.values())).proxy.freeze(self.random.choice((UP, DOWN)))
        self.daemon.signal(signal.SIGTERM)
        if self.random.random() < 0.3:
            time.sleep(0.1)
            self.daemon.signal(signal.SIGTERM)
        code = self.daemon.await_exit(40)
        counts = self.disperse(crowd, "")
        for site in self.sites.values():
            site.heal()
            until(lambda s=site: not s.sshd.sessions(), f"{site.name}'s sshd without sessions", 20, interval=0.1)
        if code != 0 or not self.daemon.log.matches(r"\bdone$"):
            self.problems.append(f"sshleased ended with {code}")
        found, _ = self.check_far_side("z")
        return counts, found

    def run(self):
        self.say(f"chaos: seed {self.seed}, {self.seconds} s, {self.size} clients")
        try:
            self.build()
            self.serve()
            self.await_rest()
            self.clear_far_side()
            fds, memory = daemons.fds_and_memory(self.daemon)
            watcher = threading.Thread(target=self.watch)
            watcher.start()
            crowd = self.crowd(self.seed, "a")
            try:
                self.disturb()
                for site in self.sites.values():
                    site.heal()
                counts = self.disperse(crowd)
                self.calm()
                found, counters = self.check_far_side("a")
                self.say(f"clients: {counts}; done: {dict(self.done)}")
                self.say(f"far side: {found}; counters: {json.dumps(counters)}")
                self.say(f"slowest answer {max(self.answers):.2f} s of {len(self.answers)}")
                self.clear_far_side()
                self.serve()
                self.await_rest()
                with contextlib.suppress(NotInTime):  # who asks for the status just now has one
                    until(lambda: procs.fd_count(self.daemon.pid) <= fds, "descriptors", 5)
                fds_now, memory_now = daemons.fds_and_memory(self.daemon)
                self.say(f"descriptors {fds} -> {fds_now}; memory {memory >> 20} -> {memory_now >> 20} MiB")
                if fds_now > fds + 1:
                    self.problems.append(f"{fds_now} file descriptors instead of {fds}: {self.daemon_fds()}")
                if memory_now - memory > MEMORY_GROWTH:
                    self.problems.append(f"memory grew by {(memory_now - memory) >> 20} MiB")
                self.say(f"last crowd, SIGTERM under it: {self.finish()}")
            finally:
                self.watching.set()
                if crowd.poll() is None:
                    crowd.kill()
                    crowd.communicate()
                watcher.join()
            self.daemon.log.assert_sane()
        except Exception:
            traceback.print_exc()
            self.problems.append("an exception")
        finally:
            try:
                self.stop()
            except AssertionError as e:
                self.problems.append(str(e))
        return self.problems

    def daemon_fds(self):
        base = f"/proc/{self.daemon.pid}/fd"
        return {fd: os.readlink(f"{base}/{fd}") for fd in os.listdir(base)}

    def stop(self):
        try:
            if self.daemon is not None:
                self.log_lines = self.daemon.log.lines
                self.daemon.stop()
        finally:
            self.clear_far_side()
            for site in self.sites.values():
                site.stop()
            self.dir.cleanup()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--size", type=int, default=12, help="clients at a time")
    parser.add_argument("--pace-ms", type=float, default=180.0, help="from one disturbance to the next, on average")
    parser.add_argument("--log", help="where sshleased's log goes")
    args = parser.parse_args()
    with accounts.plain() as entry, tempfile.TemporaryDirectory(prefix="sshlease-keys.") as directory:
        chaos = Chaos(args.seconds, args.seed, Keys(directory), entry, args.size, args.pace_ms)
        try:
            problems = chaos.run()
        finally:
            if args.log and chaos.daemon is not None and chaos.daemon.log is not None:
                with open(args.log, "w", encoding="utf-8") as f:
                    f.write("\n".join(chaos.daemon.log.lines) + "\n")
    for problem in problems:
        print(f"WRONG: {problem}")
    print(f"chaos: seed {args.seed}: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
