# SPDX-License-Identifier: MIT
"""Keys, passphrases and passwords are wiped after use: once logged in, the daemon's memory holds none of them."""

import base64
import re

import account as account_module
import pytest

pytestmark = pytest.mark.root  # the daemon lets nobody else look into its memory

MAPPING_MAX = 256 << 20  # beyond it, it is a sanitizer's bookkeeping


def memory(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            begin, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
            begin, end = int(begin, 16), int(end, 16)
            if not rights.startswith("rw") or end - begin > MAPPING_MAX:
                continue
            mem.seek(begin)
            try:
                yield mem.read(end - begin)
            except OSError:
                continue


def assert_not_in_memory(daemon, *secrets):
    pieces = list(memory(daemon.pid))
    # What must be there, so that one knows that the search finds things.
    assert any(daemon.path.encode() in piece for piece in pieces)
    for number, secret in enumerate(secrets):
        assert not any(secret in piece for piece in pieces), f"secret {number} is still in memory"


def log_in(make_daemon, settings):
    daemon = make_daemon({"targets": {"t": settings}})
    client = daemon.leased()
    assert client.run("echo in").stdout == b"in\n"
    return daemon


def private_lines(path):
    """The lines of an unencrypted ed25519 key file that hold its seed."""
    with open(path, encoding="ascii") as f:
        lines = f.read().split("\n")[1:-2]
    # The private part: type, public key, then the seed with the public key behind it.
    seed = base64.b64decode("".join(lines)).rindex(b"ssh-ed25519") + 11 + 4 + 32 + 4
    return [line.encode() for number, line in enumerate(lines) if seed < (number + 1) * 70 * 3 // 4 < seed + 64]


def test_a_key(make_daemon, make_sshd, target, keys):
    """As it stands in its file; what OpenSSL's reader of PEM files leaves decoded in freed memory is not ours to wipe."""
    daemon = log_in(make_daemon, target(make_sshd()))
    lines = private_lines(keys.ed25519)
    assert lines
    assert_not_in_memory(daemon, *lines)


def test_a_passphrase(make_daemon, make_sshd, target, keys, tmp_path):
    path = tmp_path / "passphrase"
    path.write_text(keys.PASSPHRASE + "\n")
    daemon = log_in(make_daemon, target(make_sshd(), identity_file=keys.encrypted, passphrase={"file": str(path)}))
    assert_not_in_memory(daemon, keys.PASSPHRASE.encode())


@pytest.mark.parametrize("method", ["PasswordAuthentication", "KbdInteractiveAuthentication"])
def test_a_password(make_daemon, make_sshd, target, tmp_path, method):
    secret = account_module.password()
    if secret is None:
        pytest.skip("the account was not made by these tests, so its password is not known")
    path = tmp_path / "password"
    path.write_text(secret + "\n")
    server = make_sshd(f"{method} yes", *(["UsePAM yes"] if method.startswith("Kbd") else []))
    settings = target(server, password={"file": str(path)})
    del settings["identity_file"]
    assert_not_in_memory(log_in(make_daemon, settings), secret.encode())
