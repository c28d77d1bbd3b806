# SPDX-License-Identifier: MIT
"""Larger tools that are interrupted and run again at once, over a plain ssh, a real master and our sockets: what is left
behind by ours is no worse. They want programs that a check does without: scripts/setup --full."""

import contextlib
import os
import shutil
import signal
import subprocess

import pytest

import procs
from daemon import as_user
from test_mux_interrupted import SIGNALS, answers, bytes_there, interrupt, is_free, shared
from test_mux_tools import MIB, digest, random_file
from sshd import free_port
from waiting import until

pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def _programs(request):
    """--full without its programs is an error, not a skip."""
    for mark in request.node.iter_markers("needs"):
        assert shutil.which(mark.args[0]), f"{mark.args[0]} is not installed: run scripts/setup --full"


def tree_bytes(directory):
    return sum(bytes_there(d) for d, _, _ in os.walk(directory))


def run(lane, *words, cwd=None, **env):
    """What runs ssh by itself."""
    done = subprocess.run(words, cwd=cwd or lane.dir, env=lane.env(**env), capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def interrupted(lane, number, moment, *words, cwd=None, **env):
    with subprocess.Popen(words, cwd=cwd or lane.dir, env=lane.env(**env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until(lambda: process.poll() is not None or moment(), "the moment", interval=0.002)
        was_running = process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    return was_running


each_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)


# --- git ---

PLAIN_GIT = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "core.compression", "GIT_CONFIG_VALUE_0": "0",
             "GIT_CONFIG_KEY_1": "safe.directory", "GIT_CONFIG_VALUE_1": "*"}


def commit(lane, first, name, size):
    random_file(f"{first}/{name}", size)
    run(lane, "git", "add", ".", cwd=first)
    run(lane, "git", "commit", "-q", "-m", name, cwd=first, **PLAIN_GIT)


@pytest.fixture
def repository(lane, remote_dir, account):
    """A bare one over there with 40 MiB in a clone that is still to be pushed; the clone."""
    bare = f"{remote_dir}/bare.git"
    user = account if os.geteuid() == 0 else None
    subprocess.run(as_user(["git", "init", "-q", "--bare", "-b", "main", bare], user), check=True, env=lane.env(), cwd="/")
    first = f"{lane.dir}/first"
    run(lane, "git", "init", "-q", "-b", "main", first)
    run(lane, "git", "remote", "add", "origin", f"t:{bare}", cwd=first)
    commit(lane, first, "small", 1000)
    run(lane, "git", "push", "-q", "origin", "main", cwd=first)
    run(lane, "git", "clone", "-q", f"t:{bare}", f"{lane.dir}/second")
    for name in ("one", "two"):
        commit(lane, first, name, 20 * MIB)
    return bare, first


def assert_whole(lane, directory):
    assert b"error" not in run(lane, "git", "-C", directory, "fsck", "--full", "--strict", **PLAIN_GIT)
    left = [f"{d}/{f}" for d, _, files in os.walk(directory) for f in files if f.endswith(".lock")]
    assert not left


@each_signal
def test_a_git_push(lane, repository, number):
    bare, first = repository
    before = tree_bytes(bare)
    assert interrupted(lane, number, lambda: tree_bytes(bare) > before + MIB, "git", "push", "-q", "origin", "main", cwd=first)
    run(lane, "git", "push", "-q", "origin", "main", cwd=first)
    lane.await_all_over()
    assert run(lane, "git", "-C", bare, "rev-parse", "main", **PLAIN_GIT) == run(lane, "git", "rev-parse", "main", cwd=first)
    assert_whole(lane, bare)


@each_signal
def test_a_git_fetch(lane, repository, number):
    bare, first = repository
    run(lane, "git", "push", "-q", "origin", "main", cwd=first)
    second = f"{lane.dir}/second"
    before = tree_bytes(second)
    assert interrupted(lane, number, lambda: tree_bytes(second) > before + MIB, "git", "fetch", "-q", cwd=second)
    run(lane, "git", "fetch", "-q", cwd=second)
    lane.await_all_over()
    assert run(lane, "git", "rev-parse", "origin/main", cwd=second) == run(lane, "git", "rev-parse", "main", cwd=first)
    assert_whole(lane, second)
    assert_whole(lane, bare)


# --- backups ---

@pytest.mark.needs("borg")
@each_signal
def test_a_borg_create(lane, remote_dir, number):
    os.chmod(remote_dir, 0o777)
    source = shared(f"{lane.dir}/source")
    repo = f"{remote_dir}/repo"
    env = {"BORG_RSH": f"ssh -F {lane.config}", "BORG_REPO": f"ssh://t{repo}", "BORG_BASE_DIR": lane.dir,
           "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    run(lane, "borg", "init", "-e", "none", **env)
    for step in range(2):
        for i in range(4):
            random_file(f"{source}/{i}", 4 * MIB)
        before = tree_bytes(repo)
        assert interrupted(lane, number, lambda before=before: tree_bytes(repo) > before + 2 * MIB, "borg", "create", "-C", "none",
                           f"::broken-{step}", source, **env)
        run(lane, "borg", "create", "-C", "none", f"::whole-{step}", source, **env)
    run(lane, "borg", "check", "--verify-data", **env)
    back = shared(f"{lane.dir}/back")
    run(lane, "borg", "extract", "::whole-1", cwd=back, **env)
    assert not subprocess.run(["diff", "-r", source, back + source], check=False).returncode
    lane.await_all_over()
    assert not [name for name in os.listdir(repo) if name.startswith("lock")]


@pytest.mark.needs("restic")
@each_signal
def test_a_restic_backup(lane, remote_dir, number):
    os.chmod(remote_dir, 0o777)
    source = shared(f"{lane.dir}/source")
    for i in range(4):
        random_file(f"{source}/{i}", 4 * MIB)
    repo = f"{remote_dir}/repo"
    env = {"RESTIC_PASSWORD": "secret", "RESTIC_REPOSITORY": f"sftp:t:{repo}"}
    restic = ["restic", "-q", "--no-cache", "-o", f"sftp.command=ssh -F {lane.config} t -s sftp"]
    run(lane, *restic, "init", **env)
    before = tree_bytes(repo)
    assert interrupted(lane, number, lambda: tree_bytes(repo) > before + MIB // 2, *restic, "--limit-upload", "4000", "backup",
                       source, **env)
    run(lane, *restic, "backup", source, **env)
    # The lock of a restic that was killed is its own to see through: the same with every ssh.
    run(lane, *restic, "unlock", **env)
    run(lane, *restic, "check", "--read-data", **env)
    run(lane, *restic, "restore", "latest", "--target", f"{lane.dir}/back", **env)
    assert not subprocess.run(["diff", "-r", source, f"{lane.dir}/back{source}"], check=False).returncode
    lane.await_all_over()


# --- a mount, a tunnel that is looked after, a database ---

@pytest.mark.needs("sshfs")
@pytest.mark.root
def test_a_mount_whose_ssh_dies(lane, remote_dir):
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no /dev/fuse here")
    os.chmod(remote_dir, 0o777)
    mount = shared(f"{lane.dir}/mount")
    source = random_file(f"{lane.dir}/source", MIB)
    words = ["sshfs", "-f", "-o", f"ssh_command=ssh -F {lane.config}", f"t:{remote_dir}", mount]
    for step in range(2):
        with subprocess.Popen(words, env=lane.env(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sshfs:
            until(lambda: os.path.ismount(mount), "the mount")
            subprocess.run(["timeout", "-k", "1", "20", "cp", source, f"{mount}/{step}"], check=True)
            assert digest(f"{remote_dir}/{step}") == digest(source)
            ssh = until(lambda: [p for p in procs.every() if procs.cmdline(p).startswith(f"ssh -F {lane.config}")], "its ssh")
            os.kill(ssh[0], signal.SIGKILL)
            try:
                sshfs.wait(timeout=10)  # it goes with its ssh
            finally:
                sshfs.kill()
        subprocess.run(["umount", "-l", mount], check=False, stderr=subprocess.DEVNULL)
    lane.await_all_over()


@pytest.mark.needs("autossh")
def test_autossh_sets_up_its_tunnel_again(lane, sshd):
    if lane.name == "master":
        pytest.skip("ssh -N leaves its forward to the master, and ends: there is no ssh to look after")
    port = free_port()
    words = ["autossh", "-M", "0", "-F", lane.config, "-N", "-L", f"{port}:127.0.0.1:{sshd.port}", "t"]
    env = lane.env(AUTOSSH_GATETIME="0", AUTOSSH_POLL="1")

    def ssh_of(pid):
        return [p for p in procs.descendants(pid) if lane.config in procs.cmdline(p) and procs.alive(p)]
    with subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as autossh:
        for _ in range(3):
            until(lambda: answers(port), "the tunnel")
            old = set(until(lambda: ssh_of(autossh.pid), "its ssh"))
            os.kill(min(old), signal.SIGKILL)
            until(lambda old=old: set(ssh_of(autossh.pid)) - old, "another ssh")
        until(lambda: answers(port), "the tunnel again")
        autossh.terminate()
    until(lambda: is_free(port), "the port to be free", timeout=2)
    lane.await_all_over()


@pytest.mark.needs("sqlite3")
@each_signal
def test_an_import_into_a_database(lane, remote_dir, number):
    os.chmod(remote_dir, 0o777)
    rows = "".join(f"{i},{'x' * 200}\n" for i in range(20_000))
    with open(f"{lane.dir}/rows", "w", encoding="ascii") as f:
        f.write(rows)
    sqlite = f"sqlite3 -csv {remote_dir}/db '.timeout 5000' 'create table if not exists t (i integer primary key, x)'"
    first = f"{sqlite} '.import /dev/stdin t'"
    again = f"{sqlite} 'delete from t' '.import /dev/stdin t' 'select count(*), sum(i) from t' 'pragma integrity_check'"
    with subprocess.Popen(["sh", "-c", f"head -c 2000000 {lane.dir}/rows; exec sleep 60"], stdout=subprocess.PIPE) as slow:
        assert interrupt(lane, number, lambda: tree_bytes(remote_dir) > 4096, "ssh", "t", first, stdin=slow.stdout)
        with open(f"{lane.dir}/rows", "rb") as f:
            said = subprocess.run(lane.words("ssh", "t", again), stdin=f, env=lane.env(), capture_output=True, check=True).stdout
        slow.kill()
    assert said.split() == [b"20000,199990000", b"ok"]
    lane.await_all_over()
    counted = subprocess.run(["sqlite3", f"{remote_dir}/db", "select count(*) from t; pragma integrity_check"], capture_output=True,
                             check=True).stdout
    assert counted.split() == [b"20000", b"ok"]
