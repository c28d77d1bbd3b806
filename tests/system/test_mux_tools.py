# SPDX-License-Identifier: MIT
"""What runs ssh, unmodified, over the pools: scp, sftp, rsync, git, Ansible, and many ssh at once."""

import hashlib
import os
import re
import select
import shutil
import signal
import subprocess

import pytest

import procs
import ssh_tools
from daemon import as_user, is_sanitized
from waiting import until

MIB = 1 << 20


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def random_file(path, size):
    with open(path, "wb") as f:
        for _ in range(size // MIB):
            f.write(os.urandom(MIB))
        f.write(os.urandom(size % MIB))
    os.chmod(path, 0o644)  # the far side's account reads it, too
    return str(path)


@pytest.fixture
def local(tools):
    """A directory on this side."""
    path = os.path.join(tools.dir, "local")
    os.mkdir(path)
    return path


def no_lease_is_left(tools):
    until(lambda: not tools.daemon.status()["leases"], "no lease left")


# --- scp and sftp ---

@pytest.mark.parametrize("how", [[], ["-O"]], ids=["sftp", "scp"])
def test_scp_both_ways(tools, local, remote_dir, how):
    source = random_file(f"{local}/source", 5 * MIB + 17)
    tools.good("scp", *how, source, f"t:{remote_dir}/there")
    assert digest(f"{remote_dir}/there") == digest(source)
    tools.good("scp", *how, f"t:{remote_dir}/there", f"{local}/back")
    assert digest(f"{local}/back") == digest(source)
    assert tools.daemon.connections()["leased"] == 0
    assert tools.run("scp", *how, f"t:{remote_dir}/nothing", f"{local}/nothing").returncode == 1
    no_lease_is_left(tools)


def test_scp_of_a_tree(tools, local, remote_dir):
    os.makedirs(f"{local}/tree/a/b")
    for i in range(20):
        random_file(f"{local}/tree/a/b/{i}", i * 1000)
    tools.good("scp", "-r", "-p", f"{local}/tree", f"t:{remote_dir}/")
    tools.good("scp", "-r", f"t:{remote_dir}/tree", f"{local}/again")
    assert not subprocess.run(["diff", "-r", f"{local}/tree", f"{local}/again"], check=False).returncode


@pytest.mark.parametrize("how", [[], ["-O"]], ids=["sftp", "scp"])
def test_scp_from_one_target_to_another(make_tools, sshd, target, remote_dir, how):
    tools = make_tools({"one": target(sshd), "two": target(sshd)})
    source = random_file(f"{remote_dir}/source", 2 * MIB)
    os.chown(source, os.stat(remote_dir).st_uid, -1)
    tools.good("scp", *how, "-3", f"one:{source}", f"two:{remote_dir}/copy")
    assert digest(f"{remote_dir}/copy") == digest(source)


def test_sftp_batch(tools, local, remote_dir):
    source = random_file(f"{local}/source", 3 * MIB)
    batch = (f"cd {remote_dir}\nmkdir d\nput {source} d/put\nrename d/put d/renamed\nls -l d\nget d/renamed {local}/got\n"
             f"rm d/renamed\nrmdir d\n")
    said = tools.good("sftp", "-b", "-", "t", data=batch.encode())
    assert b"renamed" in said and digest(f"{local}/got") == digest(source) and os.listdir(remote_dir) == []
    assert tools.run("sftp", "-b", "-", "t", data=b"get /nonexistent/x\n").returncode == 1


# --- rsync ---

def test_rsync_of_ten_thousand_small_files(tools, local, remote_dir, full):
    dirs = 100 if full or not is_sanitized() else 30
    for d in range(dirs):
        os.makedirs(f"{local}/many/{d}")
        for i in range(100):
            with open(f"{local}/many/{d}/{i}", "wb") as f:
                f.write(b"%d of %d\n" % (i, d) * (i % 7 + 1))
    tools.good("rsync", "-a", f"{local}/many/", f"t:{remote_dir}/many/", timeout=120)
    assert sum(len(files) for _, _, files in os.walk(f"{remote_dir}/many")) == 100 * dirs
    assert not subprocess.run(["diff", "-r", f"{local}/many", f"{remote_dir}/many"], check=False).returncode
    # And nothing is left to be done; with --checksum both sides read all of it.
    assert not tools.good("rsync", "-r", "--checksum", "--itemize-changes", f"{local}/many/", f"t:{remote_dir}/many/",
                          timeout=120).strip()
    if full:
        tools.good("rsync", "-a", f"t:{remote_dir}/many/", f"{local}/back/", timeout=120)
        assert not subprocess.run(["diff", "-r", f"{local}/many", f"{local}/back"], check=False).returncode


def test_rsync_of_one_large_file(tools, local, remote_dir, full):
    size = 1024 * MIB if full else 32 * MIB
    source = random_file(f"{local}/large", size)
    tools.good("rsync", "--whole-file", source, f"t:{remote_dir}/large", timeout=600)
    assert digest(f"{remote_dir}/large") == digest(source)
    tools.good("rsync", "--whole-file", f"t:{remote_dir}/large", f"{local}/back", timeout=600)
    assert digest(f"{local}/back") == digest(source)


# --- git ---

def test_git_clone_and_push(tools, local, remote_dir, account):
    def git(*args, cwd=local):
        return subprocess.run(["git", *args], cwd=cwd, env=tools.env(), check=True, capture_output=True, timeout=60).stdout

    bare = f"{remote_dir}/bare.git"
    subprocess.run(as_user(["git", "init", "-q", "--bare", "-b", "main", bare], account if os.geteuid() == 0 else None),
                   check=True, env=tools.env(), cwd="/")
    git("init", "-q", "-b", "main", "first")
    first = f"{local}/first"
    for i in range(50):
        random_file(f"{first}/{i}", 20_000)
    git("add", ".", cwd=first)
    git("commit", "-q", "-m", "fifty files", cwd=first)
    git("push", "-q", f"t:{bare}", "main", cwd=first)
    git("clone", "-q", f"t:{bare}", "second")
    second = f"{local}/second"
    assert git("rev-parse", "HEAD", cwd=second) == git("rev-parse", "HEAD", cwd=first)
    random_file(f"{second}/more", 3 * MIB)
    git("add", ".", cwd=second)
    git("commit", "-q", "-m", "more", cwd=second)
    git("push", "-q", "origin", "main", cwd=second)
    git("pull", "-q", f"ssh://t{bare}", "main", cwd=first)
    assert digest(f"{first}/more") == digest(f"{second}/more")
    no_lease_is_left(tools)


# --- Ansible ---

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: a file goes there
      ansible.builtin.copy: {{src: {local}/source, dest: {remote}/copied}}
    - name: a command sees it
      ansible.builtin.command: wc -c {remote}/copied
      register: counted
    - name: a new connection
      ansible.builtin.meta: reset_connection
    - name: what comes back
      ansible.builtin.fetch: {{src: {remote}/copied, dest: "{local}/{{{{ inventory_hostname }}}}", flat: true}}
    - name: many at once
      ansible.builtin.shell: "echo {{{{ item }}}} >>{remote}/{{{{ inventory_hostname }}}}"
      loop: [1, 2]
    - ansible.builtin.debug: {{msg: "counted {{{{ counted.stdout }}}}"}}
"""


@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="no ansible-playbook")
@pytest.mark.parametrize("pipelining", [pytest.param(False, marks=pytest.mark.pty), True])
def test_an_ansible_playbook(make_tools, sshd, target, remote_dir, pipelining):
    tools = make_tools({f"web{i}": target(sshd) for i in range(2)})
    local, logins = tools.dir, len(sshd_logins(sshd))
    random_file(f"{local}/source", 100_000)
    config = tools.daemon.cli("ssh-config", "--ansible")
    assert config.returncode == 0, config.stderr
    assert f"# Targets: web0 ({sshd.user}) web1 ({sshd.user})\n".encode() in config.stdout
    with open(f"{local}/ansible.cfg", "wb") as f:
        f.write(b"[defaults]\nhost_key_checking = True\ninterpreter_python = /usr/bin/python3\nlocal_tmp = %s/tmp\n"
                b"remote_tmp = %s/tmp\n"
                b"remote_user = %s\n" % (local.encode(), remote_dir.encode(), sshd.user.encode()))
        f.write(config.stdout)
        f.write(b"pipelining = %r\nssh_executable = %s\ncontrol_path_dir = %s/cp\n"
                % (pipelining, ssh_tools.SSH.encode(), local.encode()))
    with open(f"{local}/play.yaml", "w", encoding="utf-8") as f:
        f.write(PLAYBOOK.format(local=local, remote=remote_dir))
    done = subprocess.run(["ansible-playbook", "-vvv", "-i", "web0,web1", "play.yaml"], cwd=local, capture_output=True,
                          env=tools.env(ANSIBLE_CONFIG=f"{local}/ansible.cfg"), timeout=120, check=False)
    said = done.stdout.decode()
    assert done.returncode == 0, said[-5000:]
    assert said.count("failed=0") == 2 and "counted 100000" in said
    for i in range(2):
        assert digest(f"{local}/web{i}") == digest(f"{local}/source")
        with open(f"{remote_dir}/web{i}", encoding="ascii") as f:
            assert f.read() == "1\n2\n"
    # reset_connection asked our sockets, and was answered.
    assert len(re.findall(r"sending connection stop: .*ControlPath=", said)) == 2 and "Failed to reset" not in said
    assert len(sshd_logins(sshd)) - logins == 4  # one for each pool before the reset, one after it
    no_lease_is_left(tools)
    # As somebody else it does not run.
    other = subprocess.run(["ansible", "-i", "web0,", "-u", "nobody", "-m", "raw", "-a", "id", "web0"], cwd=local,
                           capture_output=True, env=tools.env(ANSIBLE_CONFIG=f"{local}/ansible.cfg"), timeout=60, check=False)
    assert other.returncode == 4 and b"but not for this host and user" in other.stdout, other


@pytest.mark.skipif(not shutil.which("ansible"), reason="no ansible")
def test_ansible_where_ssh_knows_the_host_by_another_name(make_tools, sshd, target):
    """What is there already, for the days without sshlease: a HostName must not lead past the target's socket."""
    tools = make_tools({"web0": target(sshd)})
    local = tools.dir
    with open(f"{local}/alias", "w", encoding="ascii") as f:
        f.write("Host web0\n HostName 127.0.0.1\n")
    with open(f"{local}/ansible.cfg", "wb") as f:
        f.write(tools.daemon.cli("ssh-config", "--ansible").stdout)
        f.write(b"ssh_extra_args = -F %s/alias\nssh_executable = %s\n" % (local.encode(), ssh_tools.SSH.encode()))
    done = subprocess.run(["ansible", "-i", "web0,", "-u", sshd.user, "-m", "raw", "-a", "echo there", "web0"], cwd=local,
                          capture_output=True, env=tools.env(ANSIBLE_CONFIG=f"{local}/ansible.cfg"), timeout=60, check=False)
    assert done.returncode == 0 and b"there" in done.stdout, done


def sshd_logins(server):
    return server.log.matches(r"^Accepted publickey")


# --- many at once ---

def test_a_hundred_ssh_on_four_connections_in_order(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, max_connections=4, waiters=200, acquire_timeout="5m")},
                       args=["--log-level", "debug"])
    logins = len(sshd_logins(sshd))
    gate = [tools.start("ssh", "t", "read go; echo gate") for _ in range(4)]
    tools.await_leases(4)
    children = []
    for i in range(100):
        children.append(tools.start("ssh", "-n", "t", f"echo {i}", stdin=subprocess.DEVNULL))
        # One after the other, or there would be no order to be kept.
        until(lambda n=i: tools.daemon.target()["waiters"] == n + 1, f"{i + 1} waiting")
    mark = tools.daemon.log.mark()
    for child in gate:
        assert child.communicate(b"go\n", timeout=60)[0] == b"gate\n"
    for i, child in enumerate(children):
        out, err = child.communicate(timeout=60)
        assert (child.returncode, out, err) == (0, b"%d\n" % i, b""), i
    granted = [int(m[1]) for m in tools.daemon.log.matches(r"pid=(\d+) .*waiting -> granted", mark)]
    assert granted == [child.pid for child in children]
    assert len(sshd_logins(sshd)) - logins == 4


def test_many_kinds_at_once(tools, local, remote_dir):
    """Each with its own data, none with another's."""
    source = random_file(f"{local}/source", 2 * MIB)
    with open(source, "rb") as f:
        data = f.read()
    children = []
    for i in range(4):
        children.append(tools.start("scp", source, f"t:{remote_dir}/scp{i}"))
        children.append(tools.start("rsync", source, f"t:{remote_dir}/rsync{i}"))
    cats = [tools.start("ssh", "t", "cat", stdin=open(source, "rb")) for _ in range(4)]  # noqa: SIM115
    for child in cats:
        assert child.communicate(timeout=120)[0] == data and child.returncode == 0
    for child in children:
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, (child.args, out, err)
    assert {digest(f"{remote_dir}/{name}") for name in os.listdir(remote_dir)} == {digest(source)}
    assert len(os.listdir(remote_dir)) == 8
    no_lease_is_left(tools)


# --- ends ---

def test_an_ssh_killed_in_mid_transfer(make_tools, sshd, target):
    """Its connection is closed, its remote process gone; the others do not notice."""
    tools = make_tools({"t": target(sshd, max_connections=2, kill_grace="300ms")})
    mark = tools.daemon.log.mark()
    other = tools.start("ssh", "t", "read x; echo $x; read y; echo $y", bufsize=0)
    other.stdin.write(b"first\n")
    assert other.stdout.readline() == b"first\n"
    before = set(sshd.remote())
    victim = tools.start("ssh", "t", "cat /dev/zero")
    assert victim.stdout.read(4 * MIB)
    theirs = [procs.Watch(p) for p in set(sshd.remote()) - before]
    assert theirs
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    for watch in theirs:
        watch.await_gone()
        watch.close()
    tools.daemon.log.find(rf"pid={victim.pid} .*reason=client-gone", after=mark)
    tools.daemon.await_connections(leased=1, draining=0, closing=0)
    until(lambda: len(sshd.sessions()) >= 1 and sshd.connections() == sum(
        tools.daemon.connections()[k] for k in ("idle", "leased")), "the victim's connection closed")
    assert other.communicate(b"second\n", timeout=30)[0] == b"second\n" and other.returncode == 0


@pytest.mark.parametrize("name", ["scp", "rsync"])
def test_a_tool_killed_in_mid_transfer(make_tools, sshd, target, local_sparse, remote_dir, name):
    tools = make_tools({"t": target(sshd, kill_grace="300ms")})
    child = tools.start(name, local_sparse, f"t:{remote_dir}/partial", stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL)
    until(lambda: any(os.stat(f"{remote_dir}/{n}").st_size > MIB for n in os.listdir(remote_dir)), "data on the far side")
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    sshd.await_nothing_remote()
    tools.daemon.await_connections(leased=0, draining=0, closing=0)
    tools.good("ssh", "t", "true")


@pytest.fixture
def local_sparse(tmp_path):
    """More than any of them sends within a test; the holes of it count."""
    path = tmp_path / "sparse"
    with open(path, "wb") as f:
        f.truncate(64 << 30)
    return str(path)


def test_the_daemon_killed(tools, local, local_sparse, remote_dir, sshd):
    """The tools fail at once and say why; what is asked for afterwards fails at once, too, and makes no connection."""
    source = random_file(f"{local}/source", MIB)
    running = [tools.start("ssh", "t", "cat; sleep 300"), tools.start("scp", local_sparse, f"t:{remote_dir}/a"),
               tools.start("rsync", local_sparse, f"t:{remote_dir}/b")]
    tools.await_leases(3)
    logins = len(sshd_logins(sshd))
    tools.daemon.kill()
    for child in running:
        out, err = child.communicate(timeout=20)
        assert child.returncode != 0, (child.args, out, err)
        # OpenSSH 10 says nothing of a master that vanished, and only its status 255 tells.
        assert err or child.returncode == 255, (child.args, out, err)
    for words in (["ssh", "t", "true"], ["scp", source, f"t:{remote_dir}/x"], ["rsync", source, f"t:{remote_dir}/x"],
                  ["sftp", "-b", "/dev/null", "t"]):
        done = tools.run(*words, timeout=20)
        assert done.returncode != 0 and b"sshlease: no sshleased answers at " in done.stderr, done
    assert len(sshd_logins(sshd)) == logins
    sshd.kill_remote()  # nobody was left to end it


def test_a_client_that_stops_reading(tools, sshd):
    """Its remote process waits; the daemon keeps little of it, and others go on."""
    other = [tools.start("ssh", "t", "cat /dev/zero") for _ in range(2)]
    for child in other:
        assert child.stdout.read(MIB)
    before = procs.rss_bytes(tools.daemon.pid)
    data = os.urandom(8 * MIB)
    for _ in range(3):
        assert tools.good("ssh", "t", "cat", data=data) == data
    if not is_sanitized():
        assert procs.rss_bytes(tools.daemon.pid) - before < 8 * MIB
    for child in other:
        assert child.stdout.read(4 * MIB)
        child.stdout.close()  # what writes there now fails
        assert child.wait(20) != 0
        child.stdin.close()
        child.stderr.close()
    sshd.await_nothing_remote()


# --- what was passed is found as it was left ---

@pytest.mark.parametrize("blocking", [True, False])
def test_descriptors_are_found_as_they_were_left(tools, blocking, tmp_path):
    data = os.urandom(3 * MIB)
    (tmp_path / "in").write_bytes(data)
    i, o = os.pipe()
    file = os.open(tmp_path / "in", os.O_RDONLY)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (i, o, file, null):
        os.set_blocking(fd, blocking)
    before = {fd: ssh_tools.flags(fd) for fd in (i, o, file, null)}
    child = tools.start("ssh", "t", "cat", stdin=file, stdout=o, stderr=null)
    got = bytearray()
    while len(got) < len(data):
        assert select.select([i], [], [], 20)[0], f"no more than {len(got)} bytes came"
        got += os.read(i, 1 << 16)
    assert child.wait(20) == 0 and got == data
    assert {fd: ssh_tools.flags(fd) for fd in (i, o, file, null)} == before
    for fd in (i, o, file, null):
        os.close(fd)


def test_a_pipe_keeps_its_flags_while_it_is_in_use(tools):
    """It may be shared with a shell that reads it, too."""
    i, o = os.pipe()
    child = tools.start("ssh", "t", "cat; echo end", stdin=i, stdout=subprocess.PIPE)
    os.write(o, b"line\n")
    assert child.stdout.read(5) == b"line\n"
    assert not ssh_tools.flags(i) & os.O_NONBLOCK and not ssh_tools.flags(child.stdout.fileno()) & os.O_NONBLOCK
    os.close(o)
    assert child.communicate(timeout=20)[0] == b"end\n" and child.returncode == 0
    os.close(i)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_descriptors_that_are_closed(tools, closed):
    """ssh opens /dev/null in their place and passes that."""
    words = " ".join(tools.words("ssh", "t", "'cat; echo out; echo err >&2; exit 5'"))
    done = subprocess.run(["/bin/sh", "-c", f"{words} {closed}"], env=tools.env(), input=b"in\n", capture_output=True,
                          timeout=30, check=False)
    gone = closed.split()
    out = b"" if ">&-" in gone else (b"" if "<&-" in gone else b"in\n") + b"out\n"
    assert (done.returncode, done.stdout, done.stderr) == (5, out, b"" if "2>&-" in gone else b"err\n")


def test_an_output_that_nobody_can_read_any_more(tools, sshd):
    """Closed before the first byte: ended as by SIGPIPE, on the far side, too."""
    i, o = os.pipe()
    os.close(i)
    child = tools.start("ssh", "t", "cat /dev/zero", stdin=subprocess.DEVNULL, stdout=o)
    os.close(o)
    assert child.wait(20) != 0
    child.stderr.close()
    sshd.await_nothing_remote()
    no_lease_is_left(tools)
