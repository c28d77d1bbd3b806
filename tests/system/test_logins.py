# SPDX-License-Identifier: MIT
"""Logging in as ssh would, with its number of tries, at servers and agents that are not as one expects."""

import subprocess
import time

import pytest

import native
from agents import FakeAgent, add
from logins import logs_in, refusal
from sshd import fingerprint
from waiting import until

odd_server = pytest.importorskip("odd_server", reason="needs paramiko")


@pytest.fixture
def make_odd(keys):
    servers = []

    def make(*args, **more):
        servers.append(odd_server.OddServer(keys, *args, **more))
        return servers[-1]
    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def with_password(make_odd, make_daemon, target):
    """A daemon whose target "t" logs in by password only: with_password(server, "secret")."""
    def make(server, secret="secret", **more):
        settings = target(server, password={"env": "OUR_PASSWORD"}, **more)
        del settings["identity_file"]
        return make_daemon({"targets": {"t": settings}}, env={"OUR_PASSWORD": secret})
    return make


@pytest.fixture
def with_agent(make_daemon, target):
    """The same by an agent only."""
    def make(server, path, more_targets=None, **settings):
        settings = target(server, identity_agent=path, **settings)
        del settings["identity_file"]
        return make_daemon({"targets": {"t": settings, **(more_targets or {})}})
    return make


@pytest.fixture
def make_agent(agent, tmp_path):
    agents = []

    def make(mode):
        agents.append(FakeAgent(str(tmp_path / "fake"), agent, mode))
        return agents[-1]
    yield make
    for one in agents:
        one.stop()


def runs(daemon):
    assert daemon.leased().run("anything").end.exit_status == 0


# --- passwords ---

def test_the_password_is_for_the_first_hidden_prompt_only(make_odd, with_password):
    server = make_odd("keyboard-interactive", password="secret",
                      rounds=[[("Password: ", False)], [("Verification code: ", False)]])
    error = refusal(with_password(server))
    assert error.name == "auth-failed" and "Verification code: " in error.text and "secret" not in error.text
    assert server.seen == [("answers", ["secret"])]


def test_nothing_is_answered_where_not_everything_can_be(make_odd, with_password):
    server = make_odd("keyboard-interactive", password="secret", rounds=[[("Password: ", False), ("Token: ", False)]])
    error = refusal(with_password(server))
    assert error.name == "credentials" and "Token: " in error.text
    assert server.seen == []


def test_a_prompt_that_is_not_hidden_gets_no_password(make_odd, with_password):
    server = make_odd("keyboard-interactive", password="secret", rounds=[[("Your name: ", True)]])
    error = refusal(with_password(server))
    assert error.name == "credentials" and "Your name: " in error.text
    assert server.seen == []


def test_another_method_where_the_prompt_has_no_answer(make_odd, with_password):
    server = make_odd("keyboard-interactive,password", password="secret", rounds=[[("Your name: ", True)]])
    runs(with_password(server))
    assert server.seen == [("password", "secret")]


def test_a_round_that_asks_nothing_is_answered(make_odd, with_password):
    server = make_odd("keyboard-interactive", password="secret", rounds=[[], [("Password: ", False)], []])
    runs(with_password(server))
    assert server.seen == [("answers", []), ("answers", ["secret"]), ("answers", [])]


def test_keyboard_interactive_comes_before_password(make_odd, with_password):
    server = make_odd("password,keyboard-interactive", password="secret", rounds=[[("Password: ", False)]])
    runs(with_password(server))
    assert server.seen == [("answers", ["secret"])]


def test_password_where_keyboard_interactive_asks_nothing(make_odd, with_password):
    """As sshd without PAM says no before it has asked."""
    server = make_odd("keyboard-interactive,password", password="secret")
    runs(with_password(server))
    assert server.seen == [("password", "secret")]


def test_a_wrong_password_is_sent_once(make_odd, with_password):
    server = make_odd("password,keyboard-interactive", password="other", rounds=[[("Password: ", False)]] * 2)
    daemon = with_password(server)
    clients = [daemon.client() for _ in range(4)]
    rids = [c.start_acquire("t") for c in clients]
    for client, rid in zip(clients, rids):
        assert native.CODES[client.answer("ERROR", rid=rid).code] == "auth-failed"
    assert server.seen == [("answers", ["secret"])] and server.dialed == 1


@pytest.mark.root
def test_a_wrong_password_is_one_failed_login_to_pam(make_sshd, with_password):
    server = make_sshd("UsePAM yes", "KbdInteractiveAuthentication yes", "PasswordAuthentication yes")
    daemon = with_password(server, "wrong")
    clients = [daemon.client() for _ in range(4)]
    rids = [c.start_acquire("t") for c in clients]
    for client, rid in zip(clients, rids):
        assert native.CODES[client.answer("ERROR", rid=rid).code] == "auth-failed"
    until(lambda: server.log.matches("PAM: Authentication failure|Failed password"), "the failure in the log")
    assert len(server.log.matches("PAM: Authentication failure|Failed password")) == 1


def test_an_expired_password_is_told_as_such(make_odd, with_password):
    error = refusal(with_password(make_odd("password", password="secret", expired=True)))
    assert error.name == "auth-failed" and "expired" in error.text


# --- keys and tries ---

def strangers(keys, count, tmp_path):
    paths = [str(tmp_path / f"stranger{i}") for i in range(count)]
    for path in paths:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return paths


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_the_sixth_key_of_the_agent(make_sshd, with_agent, keys, agent, tmp_path, kind):
    """sshd allows six tries (MaxAuthTries)."""
    add(agent, *strangers(keys, 5, tmp_path), getattr(keys, kind))
    logs_in(with_agent(make_sshd(), agent))


def test_the_sixth_file(make_sshd, make_daemon, target, keys, tmp_path):
    settings = target(make_sshd(), identity_file=[*strangers(keys, 5, tmp_path), keys.ed25519])
    logs_in(make_daemon({"targets": {"t": settings}}))


def test_more_keys_than_the_server_allows_tries(make_sshd, with_agent, keys, agent, tmp_path):
    server = make_sshd()
    add(agent, *strangers(keys, 7, tmp_path), keys.ed25519)
    error = refusal(with_agent(server, agent))
    assert error.name == "auth-failed"
    assert "no more tries, with 2 keys not tried yet" in error.text
    assert "Too many authentication failures" in error.text


@pytest.mark.root
def test_files_and_password_as_two_factors_cost_no_try(make_sshd, make_daemon, target, keys, password, tmp_path):
    """Five strangers, then the right key, then the password: no "none" between them."""
    server = make_sshd("PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    settings = target(server, identity_file=[*strangers(keys, 5, tmp_path), keys.ed25519], password=password)
    logs_in(make_daemon({"targets": {"t": settings}}))


@pytest.mark.root
def test_the_password_first_and_then_a_key(make_sshd, make_daemon, target, password):
    server = make_sshd("PasswordAuthentication yes", "AuthenticationMethods password,publickey")
    logs_in(make_daemon({"targets": {"t": target(server, password=password)}}))


def test_an_rsa_key_that_the_server_takes_no_signature_of(make_sshd, with_agent, keys, agent):
    server = make_sshd("PubkeyAcceptedAlgorithms ssh-ed25519")
    add(agent, keys.rsa)
    add(agent, keys.ed25519)
    logs_in(with_agent(server, agent))


@pytest.mark.parametrize("takes", ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"])
@pytest.mark.parametrize("held_by", ["file", "agent"])
def test_rsa_where_the_server_does_not_say_what_it_takes(make_odd, make_daemon, with_agent, target, keys, agent, takes,
                                                         held_by):
    server = make_odd("publickey", ext_info=False, algorithms=(takes,))
    if held_by == "file":
        runs(make_daemon({"targets": {"t": target(server, identity_file=keys.rsa)}}))
    else:
        add(agent, keys.rsa)
        runs(with_agent(server, agent))
    assert server.seen[-1] == ("publickey", takes)
    assert server.seen[0] == ("publickey", "rsa-sha2-512")


def test_rsa_where_the_server_says_what_it_takes(make_odd, make_daemon, target, keys):
    """One try, then: what it refuses is the key."""
    server = make_odd("publickey", algorithms=())
    assert refusal(make_daemon({"targets": {"t": target(server, identity_file=keys.rsa)}})).name == "auth-failed"
    assert server.seen == [("publickey", "rsa-sha2-512")]


# --- agents ---

def test_an_agent_that_refuses_to_sign(sshd, with_agent, make_agent, keys, agent):
    add(agent, keys.ed25519)
    fake = make_agent("refuse")
    daemon = with_agent(sshd, fake.path)
    error = refusal(daemon)
    assert error.name == "credentials"
    assert f"refuses to sign with {fingerprint(keys.ed25519)} (id_ed25519)" in error.text
    assert "rejects" not in error.text and "10 min" not in error.text
    # It may be unlocked, or the next one be confirmed: the server is not to be spared.
    fake.mode = "sign"
    begin = time.monotonic()
    logs_in(daemon)
    assert time.monotonic() - begin < 5


def test_another_key_where_the_agent_refuses_one(sshd, with_agent, make_agent, keys, agent):
    add(agent, keys.stranger)
    add(agent, keys.ed25519)
    fake = make_agent("refuse")
    error = refusal(with_agent(sshd, fake.path))
    assert error.name == "credentials" and fake.asked == 1
    assert f"the server rejects agent's key {fingerprint(keys.stranger)}" in error.text
    assert f"refuses to sign with {fingerprint(keys.ed25519)}" in error.text


def test_an_agent_that_signs_with_another_algorithm(sshd, with_agent, make_agent, keys, agent):
    add(agent, keys.rsa)
    error = refusal(with_agent(sshd, make_agent("sha1").path))
    assert error.name == "credentials"
    assert 'signs with "ssh-rsa" where "rsa-sha2-512" is asked for' in error.text


def test_an_agent_that_waits_for_a_confirmation(sshd, with_agent, make_agent, target, keys, agent):
    add(agent, keys.ed25519)
    fake = make_agent("wait")
    daemon = with_agent(sshd, fake.path, {"good": target(sshd)}, login_timeout="700ms", acquire_timeout="1s")
    client = daemon.client()
    rid = client.start_acquire("t")
    until(lambda: fake.asked > 0, "the agent is asked for a signature")
    assert daemon.leased("good").run("echo served").stdout == b"served\n"
    with pytest.raises(native.Error) as e:
        client.await_granted(rid, timeout=10)
    assert e.value.name == "login-timeout" and "the agent has not signed" in e.value.text


def test_an_agent_that_comes_later(sshd, with_agent, keys, agent, tmp_path):
    path = str(tmp_path / "later")
    daemon = with_agent(sshd, path)
    error = refusal(daemon)
    assert error.name == "credentials" and path in error.text
    add(agent, keys.ed25519)
    late = FakeAgent(path, agent)
    try:
        begin = time.monotonic()
        logs_in(daemon)
        assert time.monotonic() - begin < 5
    finally:
        late.stop()


# --- servers ---

def test_a_malformed_answer_is_no_rejection(make_odd, with_password):
    """It is a failed handshake, tried again soon, not credentials that are no good for ten minutes."""
    server = make_odd("password", password="secret", garbage=b"\x33")
    daemon = with_password(server, acquire_timeout="1500ms")
    error = refusal(daemon)
    assert error.name == "handshake", error.text
    server.garbage = None
    assert daemon.leased(acquire_timeout_ms=5000).run("anything").end.exit_status == 0


def test_a_server_that_lets_in_and_hangs_up(make_odd, with_password):
    """Two connections are to be kept: they are dialed less and less often, not as fast as the server hangs up."""
    server = make_odd("password", password="secret", hangup=0.05)
    daemon = with_password(server, min_idle=2, retry_min="250ms")
    until(lambda: daemon.target()["failures"] >= 4, "four rounds of logins that came to nothing", timeout=40)
    # Two in the first, one in each other; and pauses of 250, 500 and 1000 ms between them, give or take a fifth.
    assert len(server.logins) <= 6 and server.logins[-1] - server.logins[0] > 1.25
    server.hangup = None
    runs(daemon)
    # Both are kept then. A session that ends in mid key exchange would leak what libssh2 had for it.
    daemon.await_connections(idle=2)
