# SPDX-License-Identifier: MIT
"""Host keys: always checked, before a single byte of a credential is sent."""

import os
import re
import shutil
import subprocess
import tempfile

import pytest

import native
import sshd as sshd_module


@pytest.fixture
def talkative(make_sshd):
    """An sshd that logs whether anybody tried to log in."""
    return make_sshd("LogLevel DEBUG2")


def refusal(daemon):
    with pytest.raises(native.Error) as e:
        daemon.client().acquire("t")
    assert e.value.unsent and "t" in e.value.text and e.value.text.isprintable()
    return e.value


def assert_no_credentials_sent(server):
    server.log.find("Connection from|connection from")  # else nobody connected at all
    server.log.find(r"Connection (closed|reset)|[Dd]isconnect")
    assert not server.log.matches("userauth-request"), "a login was tried with an untrusted server"


def test_unknown(make_daemon, talkative, target):
    error = refusal(make_daemon({"targets": {"t": target(talkative, known="")}}))
    assert error.name == "host-key-unknown" and "SHA256:" in error.text
    assert_no_credentials_sent(talkative)


def test_missing_file(make_daemon, talkative, target, tmp_path):
    daemon = make_daemon({"targets": {"t": {**target(talkative), "user_known_hosts_file": str(tmp_path / "none")}}})
    assert refusal(daemon).name == "host-key-unknown"
    assert_no_credentials_sent(talkative)


def test_changed(make_daemon, talkative, target, keys):
    error = refusal(make_daemon({"targets": {"t": target(talkative, known=talkative.known_hosts_line(key=keys.other_host))}}))
    assert error.name == "host-key-changed" and "SHA256:" in error.text and "known_hosts" in error.text
    assert_no_credentials_sent(talkative)


def test_a_changed_key_refuses_the_target_until_an_operator_acts(make_daemon, talkative, target, keys):
    daemon = make_daemon({"targets": {"t": target(talkative, known=talkative.known_hosts_line(key=keys.other_host))}})
    refusal(daemon)
    before = len(talkative.log.matches("Connection from"))
    assert refusal(daemon).name == "host-key-changed"
    assert len(talkative.log.matches("Connection from")) == before, "it dialed again by itself"
    with open(daemon.config["targets"]["t"]["user_known_hosts_file"], "w", encoding="ascii") as f:
        f.write(talkative.known_hosts_line())
    daemon.client().reload()
    assert daemon.leased().run("echo trusted").stdout == b"trusted\n"


def test_revoked(make_daemon, talkative, target):
    known = talkative.known_hosts_line(marker="@revoked ") + talkative.known_hosts_line()
    error = refusal(make_daemon({"targets": {"t": target(talkative, known=known)}}))
    assert error.name == "host-key-revoked"
    assert_no_credentials_sent(talkative)


def test_revoked_under_another_name(make_daemon, talkative, target):
    known = talkative.known_hosts_line(name="*", marker="@revoked ") + talkative.known_hosts_line()
    assert refusal(make_daemon({"targets": {"t": target(talkative, known=known)}})).name == "host-key-revoked"


def test_hashed_names_comments_and_bad_lines(make_daemon, sshd, target, tmp_path):
    path = tmp_path / "hashed"
    path.write_text(sshd.known_hosts_line())
    subprocess.run(["ssh-keygen", "-H", "-f", str(path)], check=True, capture_output=True)
    hashed = path.read_text()
    assert hashed.startswith("|1|")
    known = f"# a comment\n\nthis is no line of known_hosts\n{sshd.known_hosts_line(name='elsewhere')}{hashed}"
    assert make_daemon({"targets": {"t": target(sshd, known=known)}}).leased().run("echo in").stdout == b"in\n"


def test_patterns_and_negation(make_daemon, sshd, target):
    line = sshd.known_hosts_line(name=f"[127.0.0.*]:{sshd.port}")
    assert make_daemon({"targets": {"t": target(sshd, known=line)}}).leased().run("echo in").stdout == b"in\n"
    negated = sshd.known_hosts_line(name=f"[127.0.0.*]:{sshd.port},![127.0.0.1]:{sshd.port}")
    assert refusal(make_daemon({"targets": {"t": target(sshd, known=negated)}})).name == "host-key-unknown"


def test_the_key_type_that_is_known_is_asked_for(make_daemon, make_sshd, target, keys):
    server = make_sshd(host_keys=[keys.host, keys.host_ecdsa])
    for key in (keys.host, keys.host_ecdsa):
        daemon = make_daemon({"targets": {"t": target(server, known=server.known_hosts_line(key=key))}})
        assert daemon.leased().run("echo in").stdout == b"in\n"


def test_accept_new_writes_it_down(make_daemon, make_sshd, target, keys, tmp_path):
    server = make_sshd()
    known = tmp_path / "sub" / "known"
    known.parent.mkdir()
    settings = {**target(server), "user_known_hosts_file": str(known), "strict_host_key_checking": "accept-new"}
    daemon = make_daemon({"targets": {"t": settings}})
    assert daemon.leased().run("echo in").stdout == b"in\n"
    assert keys.public(keys.host).split()[1] in known.read_text()
    # Now it is known, and a changed one is refused.
    strict = make_daemon({"targets": {"t": {**settings, "strict_host_key_checking": "yes"}}})
    assert strict.leased().run("echo in").stdout == b"in\n"
    port = server.port
    server.kill()
    make_sshd(host_keys=[keys.other_host], port=port)
    changed = make_daemon({"targets": {"t": settings}})
    assert refusal(changed).name == "host-key-changed"
    assert keys.public(keys.other_host).split()[1] not in known.read_text()


def test_alias(make_daemon, sshd, target):
    settings = target(sshd, known=sshd.known_hosts_line(name="the-alias"), host_key_alias="the-alias")
    assert make_daemon({"targets": {"t": settings}}).leased().run("echo in").stdout == b"in\n"


@pytest.fixture
def certified(make_sshd, keys, tmp_path):
    """certified(*options): an sshd with a host certificate, and the known_hosts line of its authority."""
    key = tmp_path / "host_certified"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    subprocess.run(["ssh-keygen", "-q", "-h", "-s", keys.authority, "-I", "host", "-n", "127.0.0.1", f"{key}.pub"],
                   check=True)

    def make(*options):
        server = make_sshd(f"HostCertificate {key}-cert.pub", *options, host_keys=[str(key)])
        return server, server.known_hosts_line(name="[127.0.0.*]:*", key=keys.authority, marker="@cert-authority ")
    return make


def test_ssh_itself_believes_the_certificate(certified, keys, tmp_path):
    """Or the tests below would prove nothing."""
    server, authority = certified()
    known = tmp_path / "known"
    known.write_text(authority)
    done = subprocess.run(["ssh", "-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes",
                           "-o", "BatchMode=yes", "-i", keys.ed25519, "-p", str(server.port),
                           f"{server.user}@127.0.0.1", "echo in"], capture_output=True, check=False)
    assert done.stdout == b"in\n", done.stderr


@pytest.mark.parametrize("checking", ["yes", "accept-new"])
def test_host_certificates_are_refused_by_name(make_daemon, certified, target, checking):
    server, authority = certified("LogLevel DEBUG2")
    settings = target(server, known=authority, strict_host_key_checking=checking)
    daemon = make_daemon({"targets": {"t": settings}})
    error = refusal(daemon)
    known = settings["user_known_hosts_file"]
    assert error.name == "host-key-unknown"
    assert f"host certificates are not supported by the SSH library, and beside the @cert-authority of {known}:1" in error.text
    assert sshd_module.fingerprint(server.host_keys[0]) in error.text
    assert_no_credentials_sent(server)
    # What it says one should do, done.
    command = re.search(r'add it with "(.*)"', error.text)[1]
    assert command == f"ssh-keyscan -p {server.port} 127.0.0.1 >> {known}"
    subprocess.run(command, shell=True, check=True, capture_output=True)
    daemon.client().reload()
    assert daemon.leased().run("echo in").stdout == b"in\n"


def test_the_command_for_an_alias(make_daemon, certified, target, keys):
    server, _ = certified()
    authority = server.known_hosts_line(name="*", key=keys.authority, marker="@cert-authority ")
    daemon = make_daemon({"targets": {"t": target(server, known=authority, host_key_alias="the-alias")}})
    subprocess.run(re.search(r'add it with "(.*)"', refusal(daemon).text)[1], shell=True, check=True, capture_output=True)
    daemon.client().reload()
    assert daemon.leased().run("echo in").stdout == b"in\n"


def test_a_plain_key_beside_the_authority(make_daemon, certified, target):
    server, authority = certified()
    daemon = make_daemon({"targets": {"t": target(server, known=authority + server.known_hosts_line())}})
    assert daemon.leased().run("echo in").stdout == b"in\n"


def test_a_server_with_nothing_but_certificates(make_daemon, certified, target):
    server, authority = certified("HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com")
    error = refusal(make_daemon({"targets": {"t": target(server, known=authority)}}))
    assert error.name == "no-algorithm"
    assert ("the server offers host certificates only (ssh-ed25519-cert-v01@openssh.com), and host certificates are not "
            "supported by the SSH library") in error.text


@pytest.fixture
def own_files(account, tmp_path, keys):
    """A directory and a key that are the account's: root may write anywhere, so the daemon must not be root."""
    directory = tempfile.mkdtemp(prefix="sshlease-own.")
    os.chmod(directory, 0o755)
    key = os.path.join(directory, "id")
    shutil.copy(keys.ed25519, key)
    os.chmod(key, 0o600)
    os.chown(key, account.pw_uid, account.pw_gid)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.root
def test_a_key_of_another_user_may_be_the_groups(make_daemon, sshd, target, account, own_files, reachable):
    """The service's key may be root's, and readable by the service's group; not by everybody."""
    known, key = os.path.join(own_files, "known_hosts"), os.path.join(own_files, "id")
    with open(known, "w", encoding="ascii") as f:
        f.write(sshd.known_hosts_line())
    os.chmod(known, 0o644)
    os.chown(key, 0, account.pw_gid)
    os.chmod(key, 0o640)
    settings = {**target(sshd), "identity_file": key, "user_known_hosts_file": known, "idle_timeout": "10ms"}
    daemon = make_daemon({"targets": {"t": settings}}, user=account)
    with daemon.leased() as client:
        assert client.run("echo in").stdout == b"in\n"
    os.chmod(key, 0o644)
    daemon.await_connections(idle=0, leased=0, closing=0)
    error = refusal(daemon)
    assert f"{key} is an UNPROTECTED PRIVATE KEY FILE: its mode is 0644" in error.text


@pytest.mark.root
def test_accept_new_where_nothing_can_be_written(make_daemon, sshd, target, account, own_files, reachable):
    """As ssh does: it warns and goes on."""
    known = os.path.join(own_files, "known_hosts")
    settings = {**target(sshd), "identity_file": os.path.join(own_files, "id"), "user_known_hosts_file": known,
                "strict_host_key_checking": "accept-new", "idle_timeout": "10ms"}
    daemon = make_daemon({"targets": {"t": settings}}, user=account)
    for count in (1, 2):
        client = daemon.leased()
        assert client.run("echo in").stdout == b"in\n"
        client.release()
        daemon.await_connections(idle=0, leased=0, closing=0)
        assert len(daemon.log.matches(rf" warning ssh .*the new host key SHA256:\S+ ssh-ed25519 could not be written down: "
                                      rf"{known}: Permission denied")) == count
    assert not os.path.exists(known)


@pytest.mark.root
def test_a_file_that_cannot_be_read_is_not_an_empty_one(make_daemon, sshd, target, account, own_files, reachable):
    known, other = os.path.join(own_files, "known_hosts"), os.path.join(own_files, "other")
    for path, text in ((known, ""), (other, sshd.known_hosts_line(marker="@revoked "))):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chown(path, account.pw_uid, account.pw_gid)
    settings = {**target(sshd), "identity_file": os.path.join(own_files, "id"), "user_known_hosts_file": known,
                "global_known_hosts_file": other, "strict_host_key_checking": "accept-new", "idle_timeout": "10ms"}
    daemon = make_daemon({"targets": {"t": settings}}, user=account)
    os.chown(other, 0, 0)
    os.chmod(other, 0o600)
    error = refusal(daemon)
    assert error.name == "host-key-unknown"
    assert f"is not taken over, for it may be revoked or be another where it could not be looked up: {other}: Permission denied" in error.text
    # A reload says so, too: the file is named in the configuration.
    with pytest.raises(native.Error, match=f"global_known_hosts_file .*{other}.* cannot be read"):
        daemon.client().reload()


@pytest.mark.root
def test_a_key_that_is_known_elsewhere_is_not_enough(make_daemon, sshd, target, account, own_files, reachable):
    known, other = os.path.join(own_files, "known_hosts"), os.path.join(own_files, "other")
    for path, text in ((known, sshd.known_hosts_line()), (other, "")):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, 0o644)
    settings = {**target(sshd), "identity_file": os.path.join(own_files, "id"), "user_known_hosts_file": known,
                "global_known_hosts_file": other}
    daemon = make_daemon({"targets": {"t": settings}}, user=account)
    os.chmod(other, 0o600)
    error = refusal(daemon)
    assert error.name == "host-key-unknown"
    assert re.search(rf"the host key is the one of {known}:1, but may be @revoked in a file that the configuration names: "
                     rf"{other}: Permission denied; let the daemon read that file", error.text), error.text
    os.chmod(other, 0o644)
    assert daemon.leased().run("echo in").stdout == b"in\n"
