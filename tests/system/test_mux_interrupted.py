# SPDX-License-Identifier: MIT
"""Transfers that are interrupted and run again at once: what a reclaimed command still writes must not come after what its
successor has written. With --full beside a plain ssh and a real master, too."""

import contextlib
import os
import signal
import socket
import subprocess

import pytest

from daemon import is_sanitized
from lanes import Us
from sshd import free_port
from test_mux_tools import MIB, digest, random_file
from waiting import until

WAYS = {"partial": ["--partial"], "inplace": ["--inplace"], "delay-updates": ["--partial", "--delay-updates"]}
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
# One always, the others with --full.
each_signal = pytest.mark.parametrize("number", [pytest.param(n, marks=[pytest.mark.full] if n != signal.SIGKILL else [])
                                                 for n in SIGNALS], ids=lambda n: n.name)


def interrupt(tools, number, moment, name, *words, stdin=subprocess.DEVNULL):
    """Runs it, and sends it that signal when `moment` has come; answers whether it was under way."""
    process = tools.start(name, *words, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: process.poll() is not None or moment(), "the moment", interval=0.005)
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, number)
    process.wait()
    return was_running


def bytes_there(directory):
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file())
    return 0


def shared(directory):
    """A directory that the far side's account writes in."""
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    return directory


# --- rsync ---

def check_rsync(lane, remote_dir, way, number, moments):
    size = 3 * MIB
    source = random_file(f"{lane.dir}/source", size)
    interrupted = 0
    for step in range(moments):
        there = shared(f"{remote_dir}/{way}-{step}")
        after = size * (step + 1) // (moments + 2)
        interrupted += interrupt(lane, number, lambda there=there, after=after: bytes_there(there) >= after, "rsync",
                                 *WAYS[way], "--bwlimit=4000", source, f"t:{there}/file")
        lane.good("rsync", *WAYS[way], source, f"t:{there}/file")
        # Whatever is still to end has ended by now, and has written what it writes.
        lane.await_all_over()
        assert digest(f"{there}/file") == digest(source), f"after {after} bytes"
    assert interrupted > 0 or is_sanitized()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_rsync_that_is_interrupted_and_run_again_at_once(tools, remote_dir, way, number):
    check_rsync(Us(tools), remote_dir, way, number, 2)


@pytest.mark.full
@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_rsync_that_is_interrupted_at_twenty_moments(lane, remote_dir, way, number):
    check_rsync(lane, remote_dir, way, number, 20)


@pytest.mark.full
@pytest.mark.parametrize("way", sorted(WAYS))
def test_rsync_until_it_is_through(lane, remote_dir, way):
    """until timeout N rsync …; do :; done"""
    source = random_file(f"{lane.dir}/source", 6 * MIB)
    there = shared(f"{remote_dir}/there")
    rsync = subprocess.list2cmdline(lane.words("rsync", *WAYS[way], "--bwlimit=4000", source, f"t:{there}/file"))
    # Without a part that is kept no run would ever come to its end.
    script = f"n=0; until timeout $((1 + n)) {rsync}; do n=$((n + 1)); [ $n -lt 8 ] || exit 9; done 2>/dev/null; echo $n"
    done = subprocess.run(["sh", "-c", script], env=lane.env(), capture_output=True, check=True, timeout=60)
    assert int(done.stdout) >= 1
    lane.await_all_over()
    assert digest(f"{there}/file") == digest(source)


# --- programs that write when they are told to end ---

# As rsync's receiver, dpkg, databases: on TERM it takes its time, and then writes.
LATE = "trap 'sleep 0.4; echo late >{0}/file; exit 1' TERM; "
PROGRAMS = {
    "reads": LATE + "echo begun; cat >{0}/part",
    "writes": LATE + "echo begun; while echo x; do sleep 0.02; done",
    "writes-without-input": LATE + "echo begun; while echo x; do sleep 0.02; done",
    "script": LATE + "echo begun; (while echo x; do sleep 0.02; done); echo more; echo more",
    "terminal": LATE + "trap 'echo hung up >{0}/file; exit 1' HUP; echo begun; cat >{0}/part",
}
OPTIONS = {"terminal": ["-tt"], "writes-without-input": ["-n"]}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_command_sees_the_hang_up_before_any_signal(lane, remote_dir, kind):
    os.chmod(remote_dir, 0o777)
    with lane.start("ssh", *OPTIONS.get(kind, []), "t", PROGRAMS[kind].format(remote_dir)) as process:
        assert process.stdout.readline().strip() == b"begun"
        process.kill()
    if kind != "terminal":
        lane.good("ssh", "t", f"echo good >{remote_dir}/file")
    lane.await_all_over()
    with open(f"{remote_dir}/file", encoding="ascii") as f:
        assert f.read() == ("hung up\n" if kind == "terminal" else "good\n")


@each_signal
def test_an_upload_by_dd(lane, remote_dir, number):
    source = random_file(f"{lane.dir}/source", 8 * MIB)
    there = shared(f"{remote_dir}/there")
    command = f"dd of={there}/file bs=64k"
    with subprocess.Popen(["sh", "-c", f"head -c 3000000 {source}; exec sleep 60"], stdout=subprocess.PIPE) as slow:
        assert interrupt(lane, number, lambda: bytes_there(there) >= 2_900_000, "ssh", "t", command, stdin=slow.stdout)
        with open(source, "rb") as f:
            subprocess.run(lane.words("ssh", "t", command), stdin=f, env=lane.env(), capture_output=True, check=True)
        slow.kill()
    lane.await_all_over()
    assert digest(f"{there}/file") == digest(source)


def test_tar_into_tar_whose_list_nobody_reads_to_its_end(lane, remote_dir):
    tree = shared(f"{lane.dir}/tree")
    for i in range(200):
        random_file(f"{tree}/{i}", 5_000)
    there = shared(f"{remote_dir}/there")
    ssh = subprocess.list2cmdline(lane.words("ssh", "t", f"tar -xvf - -C {there}; echo $? >{remote_dir}/there/status"))
    subprocess.run(["bash", "-c", f"tar -C {tree} -cf - . | {ssh} | head -1"], env=lane.env(), check=True, timeout=60,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lane.await_all_over()
    if lane.name == "us":  # with ssh tar may die of the lost reader
        assert len(os.listdir(there)) == 201


# --- scp and sftp ---

TRANSFERS = {"scp": ["scp", "-l", "16000"], "scp-O": ["scp", "-O", "-l", "16000"], "sftp": ["sftp", "-l", "16000", "-b"]}


@each_signal
@pytest.mark.parametrize("how", TRANSFERS)
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_copy_that_is_interrupted_and_run_again_at_once(lane, remote_dir, how, up, number):
    name, *options = TRANSFERS[how]
    here, there = shared(f"{lane.dir}/here"), shared(f"{remote_dir}/there")
    source = random_file(f"{here if up else there}/source", 2 * MIB)
    goal = shared(f"{there if up else here}/goal")
    if how == "sftp":
        with open(f"{lane.dir}/batch", "w", encoding="ascii") as f:
            f.write(f"put {source} {goal}/file\n" if up else f"get {source} {goal}/file\n")
        words = [f"{lane.dir}/batch", "t"]
    else:
        words = [source, f"t:{goal}/file"] if up else [f"t:{source}", f"{goal}/file"]
    assert interrupt(lane, number, lambda: bytes_there(goal) >= 300_000, name, *options, *words) or is_sanitized()
    lane.good(name, *[o for o in options if o not in ("-l", "16000")], *words)
    lane.await_all_over()
    assert digest(f"{goal}/file") == digest(source)


# --- tunnels ---

def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as s:
        return s.recv(4) == b"SSH-"
    return False


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            s.listen()
            return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("kind", ["-L", "-R", "-D"])
def test_a_tunnel_whose_ssh_is_killed(lane, sshd, kind, number):
    port = free_port()
    where = f"127.0.0.1:{port}" + (f":127.0.0.1:{sshd.port}" if kind != "-D" else "")
    with lane.start("ssh", "-N", kind, where, "t", stdin=subprocess.DEVNULL) as tunnel:
        until((lambda: answers(port)) if kind != "-D" else (lambda: not is_free(port)), "the tunnel")
        tunnel.send_signal(number)
    if lane.name != "master":  # there the master keeps it
        until(lambda: is_free(port), "the port to be free", timeout=1)
        # And it can be had again.
        with lane.start("ssh", "-N", kind, where, "t", stdin=subprocess.DEVNULL) as tunnel:
            until((lambda: answers(port)) if kind != "-D" else (lambda: not is_free(port)), "the tunnel again")
            tunnel.send_signal(number)
        until(lambda: is_free(port), "the port to be free again", timeout=1)
    lane.await_all_over()
