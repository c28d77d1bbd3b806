# SPDX-License-Identifier: MIT
"""The tests. Each gets a Bed, raises Broken where something is wrong, and knows nothing of who runs it: sshlease, or
plain ssh for comparison."""

import contextlib
import hashlib
import os
import re
import select
import shutil
import subprocess
import time

import procs
from waiting import NotInTime, until
from ways import Broken, Done

MIB = 1 << 20
TESTS = {}      # name -> its function, in the order of the table
SHORT = set()   # those of the short form
OURS = set()    # those in which plain ssh is no standard: a promise of sshlease's own
GONE_WITHIN = 8.0


def cell(name, short=False, ours=False):
    def note(function):
        TESTS[name] = function
        if short:
            SHORT.add(name)
        if ours:
            OURS.add(name)
        return function
    return note


def statuses(count):
    return [(0, 1, 7, 42, 200)[i % 5] for i in range(count)]


def wrong(server, done, word, status):
    """What is wrong with a command's result: (kind, text), or None."""
    if not done.out and re.search(rb"Permission denied|rejects the credentials", done.err):
        return "login", done.text()
    if done.out.strip() != word.encode():
        return "output", f"no output but {done.text()}" if not done.out else f"output {done.out[:60]!r}, {done.text()}"
    if done.code != server.status_of(status):
        return "status", f"{done.text()} instead of {server.status_of(status)}"
    return None


def judge(bad, count):
    """`bad`: what was wrong with some of `count` commands, as (kind, text)."""
    if bad:
        kinds = [kind for kind, _ in bad]
        kind = max(set(kinds), key=kinds.count)
        raise Broken(kind, f"{len(bad)} of {count}: {dict(bad)[kind]}", len(bad) / count)


@cell("row", short=True)
def in_a_row(bed):
    """Commands one after the other, with different statuses."""
    way, bad, done_so_far = bed.way(), [], 0
    for i, status in enumerate(statuses(bed.server.in_a_row // (2 if bed.short else 1))):
        done_so_far += 1
        try:
            fault = wrong(bed.server, way.run(bed.server.command(f"word{i}", status)), f"word{i}", status)
        except Broken as e:
            fault = (e.kind, e.detail)
        bad += [fault] if fault else []
        # Each of these takes its time, and three say enough.
        if len([kind for kind, _ in bad if kind == "slow"]) == (1 if bed.short else 3):
            break
    judge(bad, done_so_far)


@cell("at-once", short=True)
def at_once(bed):
    """Commands beside each other, with different statuses."""
    way, bad = bed.way(), []
    wanted = list(enumerate(statuses(4 if bed.short else 8)))
    # Four logins at once, as the daemon has: servers refuse more, and that is not what is looked at here.
    most = 4 if bed.plain else len(wanted)
    for first in range(0, len(wanted), most):
        bad += beside_each_other(bed.server, way, wanted[first:first + most])
    judge(bad, len(wanted))


def beside_each_other(server, way, wanted):
    """What was wrong with some of `wanted`, as (kind, text)."""
    pause = "sleep 0.3; " if server.posix else ""
    running = [(i, status, way.start(pause + server.command(f"word{i}", status))) for i, status in wanted]
    deadline, bad = time.monotonic() + way.patience, []
    try:
        for i, status, process in running:
            try:
                out, err = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                bad.append(("slow", f"no end within {way.patience:g} s"))
                continue
            fault = wrong(server, Done(process.returncode, out, err), f"word{i}", status)
            bad += [fault] if fault else []
    finally:
        end(process for _, _, process in running)
    return bad


def end(processes):
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@cell("streams", short=True)
def streams_apart(bed):
    """Standard output and standard error do not mix."""
    done = bed.way().run(bed.server.both_streams)
    lines = done.out.split(), done.err.split()
    if bed.server.status_of(0) != 0 and not bed.plain:
        # That the status is not known is told there.
        lines = lines[0], done.err.partition(b"sshlease: ")[0].split()
    if lines != ([b"out"], bed.server.stderr_first.split() + [b"err"]):
        raise Broken("streams" if done.out else "output", f"output {done.out[:60]!r}, errors {done.err[:200]!r}")
    if done.code != bed.server.status_of(0):
        raise Broken("status", done.text())


@cell("variables", short=True)
def variables(bed):
    """Variables that a server takes, and such as it refuses: the command runs, and its answers are its own."""
    bad, ways = [], (bed.way(send_env=["*"]), bed.way(mux=True, send_env=["*"]))
    for given in (["LANG=C.UTF-8"], ["FOO=1"], ["LANG=C.UTF-8", "FOO=1"], ["FOO=1", "LANG=C.UTF-8"]):
        for way in ways:
            words = way.words(bed.server.command("word", 7), variables=given)
            try:
                fault = wrong(bed.server, way.run_words(words), "word", 7)
            except Broken as e:
                raise Broken(e.kind, f"with {' '.join(given)}: {e.detail}") from None
            bad += [(fault[0], f"with {' '.join(given)}: {fault[1]}")] if fault else []
    judge(bad, 8)


def numbers(size):
    """What `seq | head -c` makes: nothing in it is twice, so a piece lost or moved is seen."""
    return "".join(f"{i}\n" for i in range(1, size // 6 + 100000)).encode()[:size]


def up_and_down(way, size, name=""):
    data = numbers(size)
    digest = hashlib.sha256(data).hexdigest().encode()
    done = way.run("sha256sum", data, patience=25)
    if done.out.split()[:1] != [digest]:
        raise Broken("up", f"{name}{size / MIB:g} MB up: {done.text()}")
    done = way.run(f"seq 1 99999999 | head -c {size}", patience=25)
    if done.out != data:
        raise Broken("down", f"{name}{size / MIB:g} MB down: {len(done.out)} bytes came, {done.text()}")


@cell("bulk", short=True)
def bulk(bed):
    """8 MB each way (1 MB in the short form), and 1 MB there and back at the same time."""
    way = bed.way()
    up_and_down(way, MIB if bed.short else 8 * MIB)
    data = numbers(MIB)
    bad = []
    count = 1 if bed.short else 4
    for _ in range(count):
        done = way.run("cat", data, patience=30)
        if done.out != data or done.code != bed.server.status_of(0):
            bad.append(("echo", f"1 MB through cat: {len(done.out)} bytes came, {done.text()}"))
    judge(bad, count)


@cell("eof")
def end_of_input(bed):
    """cat ends with its input, and nothing of that is lost."""
    way = bed.way()
    for what, data, options in (("empty pipe", b"", {}), ("a line", b"line\n", {}), ("no line break", b"x" * 70000, {}),
                                ("/dev/null", b"", {"stdin": subprocess.DEVNULL})):
        done = way.run("cat", data, **options)
        if done.out != data or done.code != bed.server.status_of(0):
            raise Broken("eof", f"{what}: {len(done.out)} bytes came, {done.text()}")
    done = way.run("cat </dev/null; echo after")
    if done.out != b"after\n":
        raise Broken("eof", f"cat </dev/null: {done.text()}")


def read_line(process, patience):
    """The first line of a child's output, without waiting for ever."""
    line, deadline = b"", time.monotonic() + patience
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            raise Broken("slow", f"no output within {patience:g} s")
        data = os.read(process.stdout.fileno(), 1)
        if not data:
            process.wait(5)
            raise Broken("output", f"the command ended: {Done(process.returncode, b'', process.stderr.read()).text()}")
        line += data
    return line


def killed(bed, command, names):
    """kill -9 of the client. What it had started is gone in time, and the lease is over."""
    way = bed.way(**({"kill_grace": "300ms"} if bed.short else {}))
    client = way.start(command)
    watches = []
    try:
        line = read_line(client, way.patience)
        watches = [(name, procs.Watch(int(pid))) for name, pid in zip(names, line.split())]
        client.kill()
        since = time.monotonic()
        left = [name for name, watch in watches if not watch.gone(max(0, since + GONE_WITHIN - time.monotonic()))]
        if left:
            raise Broken("left", f"{' and '.join(left)} still there after {GONE_WITHIN:g} s", len(left) / len(names))
        await_no_lease(way, since)
    finally:
        end([client])
        for _, watch in watches:
            watch.kill()
            watch.close()


def await_no_lease(way, since):
    if way.daemon is None:
        return

    def over():
        target = way.daemon.status()
        counts = way.daemon.connections()
        return not target["leases"] and not counts["leased"] and not counts["draining"] and not counts["closing"]
    try:
        until(over, "the lease is over", max(0.1, since + GONE_WITHIN - time.monotonic()), 0.02)
    except NotInTime:
        raise Broken("held", f"the connection is not back {GONE_WITHIN:g} s after the end of its client") from None


@cell("killed", short=True)
def killed_plain(bed):
    if bed.server.posix:
        killed(bed, "sleep 60 & echo $$ $!; wait", ("the shell", "its child"))
    else:
        killed(bed, bed.server.endless, ())


@cell("killed-detached", short=True)
def killed_detached(bed):
    killed(bed, "setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $$ $!; wait", ("the shell", "the detached process"))


@cell("terminal")
def terminal(bed):
    """A command and a shell on a terminal."""
    way, server = bed.way(), bed.server
    try:
        if server.posix:
            with way.terminal("tty; stty size" if server.terminals else "echo no; echo terminal") as shown:
                shown.expect("/dev/pts/" if server.terminals else "no", way.patience)
                shown.expect("40 100" if server.terminals else "terminal", way.patience)
                if shown.wait(way.patience) != server.status_of(0):
                    raise Broken("status", f"status {shown.code} of a command on a terminal")
        if server.terminals or not server.posix:
            keys, sees, status = server.shell_types
            with way.terminal() as shown:
                shown.type(keys)
                shown.expect(sees, way.patience)
                if shown.wait(way.patience) != server.status_of(status):
                    raise Broken("status", f"status {shown.code} of a shell instead of {server.status_of(status)}")
    except NotInTime as e:
        raise Broken("terminal", str(e)) from None


@cell("idle")
def idle(bed):
    """Silence for longer than it takes to find a connection dead: during a command, and between commands."""
    way = bed.way(alive=1)
    quiet = "sleep 6; echo word" if bed.server.posix else bed.server.endless.replace("60", "6")
    done = way.run(quiet, patience=20)
    if done.code != bed.server.status_of(0) or not done.out.strip():
        raise Broken("quiet", f"a command that is quiet for 6 s: {done.text()}")
    # A server may have to be learned about once; then everything is as quick as ever.
    for pause, limit in ((3, 8.0), (3, 3.0), (3, 3.0)):
        time.sleep(pause)
        done = way.run(bed.server.command("word", 7), patience=20)
        fault = wrong(bed.server, done, "word", 7)
        if fault:
            raise Broken(fault[0], f"after {pause} s without a command: {fault[1]}")
        if done.seconds > limit:
            raise Broken("slow", f"after {pause} s without a command the next one took {done.seconds:.1f} s")


@cell("restart")
def restarted(bed):
    """The server is restarted between commands."""
    way = bed.way()
    for turn in range(3):
        fault = wrong(bed.server, way.run(bed.server.command("word", 7)), "word", 7)
        if fault:
            raise Broken(fault[0], f"after {turn} restarts: {fault[1]}")
        bed.instance.restart()
    fault = wrong(bed.server, way.run(bed.server.command("word", 0)), "word", 0)
    if fault:
        raise Broken(fault[0], f"after the last restart: {fault[1]}")


@cell("mux", short=True)
def mux(bed):
    """ssh over the daemon's ControlPath: statuses and streams."""
    way, bad = bed.way(mux=True), []
    count = 3 if bed.short else 6
    for i, status in enumerate(statuses(count)):
        try:
            fault = wrong(bed.server, way.run(bed.server.command(f"word{i}", status)), f"word{i}", status)
        except Broken as e:
            fault = (e.kind, e.detail)
        bad += [fault] if fault else []
        if fault and fault[0] == "slow":
            break
    judge(bad, count)


@cell("sftp")
def sftp(bed):
    """sftp and scp over the daemon's ControlPath: a file there and back."""
    way = bed.way(mux=True)
    there = bed.zoo.directory("there")
    here, back = os.path.join(bed.dir, "here"), os.path.join(bed.dir, "back")
    data = numbers(MIB)
    with open(here, "wb") as f:
        f.write(data)
    try:
        batch = f"put {here} {there}/sftp\nget {there}/sftp {back}\n".encode()
        fetched(way.run_words(way.tool("sftp", "-q", "-b", "-", way.destination), batch, patience=30), "sftp", back, data)
        os.unlink(back)
        for words in ((here, f"{way.destination}:{there}/scp"), (f"{way.destination}:{there}/scp", back)):
            done = way.run_words(way.tool("scp", "-q", *words), patience=30)
            if done.code != 0:
                raise Broken("scp", f"scp: {done.text()}")
        fetched(done, "scp", back, data)
    finally:
        shutil.rmtree(there, ignore_errors=True)


def fetched(done, name, path, data):
    got = b""
    with contextlib.suppress(OSError), open(path, "rb") as f:
        got = f.read()
    if done.code != 0 or got != data:
        raise Broken(name, f"{name}: {len(got)} bytes of {len(data)}, {done.text()}")


@cell("rekey")
def rekey(bed):
    """New keys after each MiB where the server can be told so, else much data; then a command."""
    instance = bed.other_instance(rekey=True) if bed.server.rekeys else bed.instance
    way = bed.way(instance=instance)
    up_and_down(way, (8 if bed.server.rekeys else 24) * MIB)
    fault = wrong(bed.server, way.run(bed.server.command("word", 7)), "word", 7)
    if fault:
        raise Broken(fault[0], f"afterwards: {fault[1]}")


def one_of_each(bed, kinds, ways):
    bad = []
    for kind in kinds:
        try:
            fault = wrong(bed.server, ways(kind).run(bed.server.command("word", 7)), "word", 7)
        except Broken as e:
            fault = (e.kind, e.detail)
        if fault:
            bad.append((kind, *fault))
    if bad:
        raise Broken("+".join(f"{kind} {fault}" for kind, fault, _ in bad),
                     "; ".join(f"{kind}: {text}" for kind, _, text in bad))


@cell("user-keys")
def user_keys(bed):
    """Each kind of key that the server takes for a login."""
    one_of_each(bed, bed.server.client_keys, lambda kind: bed.way(identity=kind))


@cell("host-keys")
def host_keys(bed):
    """Each kind of key that the server may have."""
    one_of_each(bed, bed.server.host_keys, lambda kind: bed.way(instance=bed.other_instance(host_key=kind)))


@cell("refusal", short=True, ours=True)
def refusal(bed):
    """No algorithm in common: told at once, and by name."""
    done = bed.way().run(bed.server.command("word", 0), patience=40)
    said = done.err.decode(errors="replace")
    if done.code != 255 or done.out:
        raise Broken("status", f"{done.text()}, where no algorithm is in common")
    if done.seconds > 5:
        raise Broken("slow", f"told after {done.seconds:.0f} s: {done.text()}")
    if bed.server.offers not in said:
        raise Broken("text", f"{bed.server.offers} is not named: {done.text()}")


@cell("logins", short=True, ours=True)
def logins(bed):
    """A server that hangs up just after each login is not run over: the pauses grow."""
    bed.way(min_idle=2)
    most, log = 8, bed.instance.log
    with contextlib.suppress(NotInTime):
        until(lambda: len(log.matches("^login$")) > most, "too many logins", 6, 0.05)
    seen = len(log.matches("^login$"))
    if seen > most:
        raise Broken("logins", f"{seen} logins within 6 s at a server that hangs up after each")
    if not seen:
        raise Broken("login", "nobody logged in")
