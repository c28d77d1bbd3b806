"""Host keys: always checked, before a single byte of a credential is sent."""

import subprocess

import pytest

import native


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
    assert server.log.matches("Connection from|connection from"), "nobody connected at all"
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
