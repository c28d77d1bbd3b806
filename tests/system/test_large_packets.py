"""Packets from the server that are longer than what RFC 4253 obliges us to take (35000 bytes), as OpenSSH has them."""

import hashlib
import signal
import threading

import pytest

import daemon as daemons
import large_packets

pytestmark = pytest.mark.skipif(not daemons.libssh2_is_ours(), reason="the system's libssh2 takes no longer packets")

SUITES = [("aes128-ctr", "hmac-sha2-256-etm@openssh.com"), ("aes256-ctr", "hmac-sha2-512"), ("aes256-gcm@openssh.com", None),
          ("chacha20-poly1305@openssh.com", None)]
# The last is what a window of OpenSSH holds.
TAKEN = [1, 34000, 34980, 35000, 39990, 65536, 262144, 1000000, 2097152]
REFUSED = 2359296
# A terminal takes more or less at once, as its reader happens to run.
ROUNDS = 6


@pytest.fixture
def make_server(keys):
    servers = []

    def make(cipher, mac):
        servers.append(large_packets.Server(keys, cipher, mac))
        return servers[-1]
    yield make
    for server in servers:
        server.stop()


@pytest.mark.parametrize("cipher, mac", SUITES, ids=[suite[0] for suite in SUITES])
def test_every_size(make_server, make_daemon, target, cipher, mac):
    daemon = make_daemon({"targets": {"t": target(make_server(cipher, mac))}})
    for size in TAKEN + TAKEN[::-1]:
        done = daemon.cli("exec", "t", "--", f"send {size}")
        assert (done.returncode, done.stdout) == (0, b"behind %d\n" % size), (size, done.stderr)
    assert len(daemon.log.matches("gone -> dialing")) == 1
    done = daemon.cli("exec", "t", "--", f"send {REFUSED}")
    assert done.returncode == 255 and b"the SSH session broke" in done.stderr, done.stderr
    assert daemon.cli("exec", "t", "--", "send 1").stdout == b"behind 1\n"


@pytest.mark.pty
@pytest.mark.parametrize("cipher, mac", SUITES, ids=[suite[0] for suite in SUITES])
def test_a_terminal_that_does_not_echo(make_tools, make_sshd, target, cipher, mac):
    """sshd hides that nothing is echoed by an SSH_MSG_IGNORE as long as what it has written to the terminal at once."""
    server = make_sshd(f"Ciphers {cipher}", *([f"MACs {mac}"] if mac else []))
    tools = make_tools({"t": target(server)})
    data = b"".join(b"%075d\n" % i for i in range(10000))
    digest = hashlib.md5(data).hexdigest().encode()
    command = f"stty -echo; for i in $(seq {ROUNDS}); do echo begun; head -c {len(data)} | md5sum; done"
    with tools.start("ssh", "-tt", "t", command) as process:
        for _ in range(ROUNDS):
            assert process.stdout.readline().strip() == b"begun"
            server.signal_sessions(signal.SIGSTOP)  # until much has come, which it then writes at once
            writer = threading.Thread(target=process.stdin.write, args=(data,))
            writer.start()
            writer.join(0.2)
            server.signal_sessions(signal.SIGCONT)
            writer.join()
            process.stdin.flush()
            assert process.stdout.readline().split()[:1] == [digest], process.stderr.read()
        assert process.wait(20) == 0
    assert tools.good("ssh", "t", "echo in") == b"in\n"
    assert len(tools.daemon.log.matches("gone -> dialing")) == 1
