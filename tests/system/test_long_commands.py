# SPDX-License-Identifier: MIT
"""Commands that are longer than what RFC 4253 obliges a server to take (32768 bytes), as far as plain ssh has them."""

import contextlib
import hashlib
import os
import random
import shutil
import socket
import string
import subprocess
import sys

import pytest

import daemon as daemons
import ssh_tools
from waiting import until

sys.path.insert(0, os.path.join(daemons.ROOT, "client", "python", "src"))

pytestmark = pytest.mark.skipif(not daemons.libssh2_is_ours(), reason="the system's libssh2 sends no longer packets")

SUITES = [("aes128-ctr", "hmac-sha2-256-etm@openssh.com"), ("aes256-ctr", "hmac-sha2-512"), ("aes256-gcm@openssh.com", None),
          ("chacha20-poly1305@openssh.com", None)]
# A single word for the kernel is at most 128 KiB, at either end: the server's shell cannot be started with more.
RUNS = [32767, 34001, 35000, 65537, 131071]
FAILS = [131072, 262000]


def command_of(size):
    """A command of that many bytes, and what it writes: of every byte of it something depends."""
    head, tail = "md5sum <<'E' | cut -c1-32\n", "\nE"
    text = "".join(random.Random(size).choices(string.ascii_letters + "    ", k=size - len(head) - len(tail)))
    return head + text + tail, hashlib.md5(text.encode() + b"\n").hexdigest().encode() + b"\n"


def words_of(command):
    """ssh joins them again: no word here may be longer than the kernel lets one be."""
    words, at = [], 0
    while len(command) - at > 100000:
        end = command.rindex(" ", at, at + 100000)
        words.append(command[at:end])
        at = end + 1
    return [*words, command[at:]]


def outcome(done):
    return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if b"too long" in line]


@pytest.mark.parametrize("cipher, mac", SUITES, ids=[suite[0] for suite in SUITES])
def test_every_size_as_plain_ssh(make_tools, make_sshd, target, keys, cipher, mac):
    server = make_sshd(f"Ciphers {cipher}", *([f"MACs {mac}"] if mac else []))
    tools = make_tools({"t": target(server)})
    for size in RUNS + FAILS:
        command, output = command_of(size)
        words = words_of(command)
        assert " ".join(words) == command
        plain = subprocess.run(ssh_tools.plain_words(server, keys, tools.dir, "t", *words), capture_output=True, check=False,
                               stdin=subprocess.DEVNULL, env=tools.env())
        ours = tools.daemon.cli("exec", "t", "--", *words)
        over = tools.run("ssh", "t", *words)
        assert outcome(ours) == outcome(over) == outcome(plain), size
        assert plain.stdout == (output if size in RUNS else b"")
    # The connection is as good as before.
    assert tools.good("ssh", "t", "echo in") == b"in\n"
    assert len(tools.daemon.log.matches("gone -> dialing")) == 1


def test_python(daemon):
    import sshlease
    with sshlease.lease("t", socket=daemon.path) as c:
        for size in (34001, 131071):
            command, output = command_of(size)
            assert c.run(command).stdout.encode() == output
        with pytest.raises(ValueError, match="it may have 1 to 262000"):
            c.run("x" * 262001)


def test_at_once_and_with_data(daemon):
    """A packet that long beside those of other channels."""
    client = daemon.leased()
    bulk = client.exec("cat >/dev/null; echo read")
    bulk.write(b"x" * 200000)
    command, output = command_of(120000)
    for _ in range(5):
        assert client.run(command).stdout == output
        bulk.write(b"x" * 100000)
    bulk.write_eof()
    bulk.await_end()
    assert bulk.stdout == b"read\n"


def test_what_no_packet_holds(tools):
    words = ["true", *("x" * 90000 for _ in range(3))]
    done = tools.daemon.cli("exec", "t", "--", *words)
    assert done.returncode == 255 and b"the command has 270007 bytes; it may have 262000" in done.stderr, done.stderr
    done = tools.run("ssh", "t", *words)  # its packet to us is too long as well
    assert done.returncode == 255 and done.stderr and not done.stdout


def test_variables(make_tools, make_sshd, target):
    tools = make_tools({"t": target(make_sshd("AcceptEnv LC_*"), send_env=["LC_*"])})
    value = "v" * 100000
    done = subprocess.run(tools.words("ssh", "-o", "SendEnv=LC_LONG", "t", "printf %s \"$LC_LONG\" | wc -c"),
                          capture_output=True, check=False, env=tools.env(LC_LONG=value), stdin=subprocess.DEVNULL)
    assert done.stdout.strip() == b"100000", done.stderr


@pytest.fixture
def dropbear(tmp_path):
    program = shutil.which("dropbear") or "/usr/sbin/dropbear"
    host_key = str(tmp_path / "host_key")
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", host_key], check=True, capture_output=True)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen([program, "-F", "-E", "-r", host_key, "-p", f"127.0.0.1:{port}", "-P", str(tmp_path / "pid")],
                               stderr=subprocess.DEVNULL)
    public = subprocess.run(["dropbearkey", "-y", "-f", host_key], check=True, capture_output=True, text=True).stdout
    line = next(line for line in public.splitlines() if line.startswith("ssh-"))

    def answers():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
    until(answers, "dropbear listens")
    yield port, f"[127.0.0.1]:{port} {' '.join(line.split()[:2])}\n"
    process.terminate()
    process.wait()


@pytest.mark.root
def test_a_server_that_takes_less_is_named(make_daemon, dropbear, account, password, tmp_path):
    port, known = dropbear
    (tmp_path / "known").write_text(known)
    daemon = make_daemon({"targets": {"t": {"host": "127.0.0.1", "port": port, "user": account.pw_name,
                                            "password": password, "user_known_hosts_file": str(tmp_path / "known")}}})
    assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
    for size in (20000, 60000):
        done = daemon.cli("exec", "t", "--", command_of(size)[0])
        assert done.returncode == 255 and b"(on a command of %d bytes, which may be too long for it)" % size in done.stderr, done.stderr
        assert daemon.cli("exec", "t", "--", "echo in").stdout == b"in\n"
