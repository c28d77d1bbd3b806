# SPDX-License-Identifier: MIT
"""Logging in: every kind of key, certificates, agents, passwords, several factors; and being rejected."""

import os
import re
import shutil
import subprocess
import time

import pytest

import daemon as daemon_module
import native
from agents import add
from logins import logs_in, refusal
from sshd import fingerprint


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_key(make_daemon, sshd, target, keys, kind):
    logs_in(make_daemon({"targets": {"t": target(sshd, identity_file=getattr(keys, kind))}}))


def test_several_keys_the_last_is_the_right_one(make_daemon, sshd, target, keys):
    logs_in(make_daemon({"targets": {"t": target(sshd, identity_file=[keys.stranger, keys.rsa])}}))


def test_a_key_that_others_may_read_is_not_used(make_daemon, sshd, target, keys, tmp_path):
    """As with ssh; a configuration that names it is wrong."""
    path = tmp_path / "id"
    shutil.copy(keys.ed25519, path)
    path.chmod(0o600)
    daemon = make_daemon({"targets": {"t": target(sshd, identity_file=str(path), idle_timeout="10ms")}})
    assert daemon.leased().run("echo in").stdout == b"in\n"
    daemon.await_connections(idle=0, leased=1)
    daemon.clients[-1].close()
    daemon.await_connections(idle=0, leased=0)
    told = f"{str(path)[:30]}\\S* is an UNPROTECTED PRIVATE KEY FILE: its mode is 0644; give it 0600"
    path.chmod(0o644)
    error = refusal(daemon)
    assert error.name == "credentials" and re.search(told, error.text), error.text
    done = subprocess.run([daemon_module.program("sshleased"), "--check-config", daemon.config_file], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and re.search(rf"config.yaml:\d+:\d+: identity_file .{told}", done.stderr), done.stderr
    with pytest.raises(native.Error, match="UNPROTECTED"):
        daemon.client().reload()
    path.chmod(0o600)
    logs_in(daemon)


@pytest.mark.parametrize("secret", ["file", "env", "credential"])
def test_encrypted_key(make_daemon, sshd, target, keys, tmp_path, secret):
    path = tmp_path / "passphrase"
    path.write_text(f"{keys.PASSPHRASE}\n")
    path.chmod(0o600)
    source = {"file": {"file": str(path)}, "env": {"env": "OUR_PASSPHRASE"}, "credential": {"credential": "passphrase"}}
    env = {"env": {"OUR_PASSPHRASE": keys.PASSPHRASE}, "credential": {"CREDENTIALS_DIRECTORY": str(tmp_path)}}
    daemon = make_daemon({"targets": {"t": target(sshd, identity_file=keys.encrypted, passphrase=source[secret])}},
                         env=env.get(secret))
    logs_in(daemon)
    assert not [line for line in daemon.log.lines if keys.PASSPHRASE in line], "a secret in the log"


def test_encrypted_key_with_a_wrong_passphrase(make_daemon, sshd, target, keys):
    daemon = make_daemon({"targets": {"t": target(sshd, identity_file=keys.encrypted, passphrase={"env": "WRONG"})}},
                         env={"WRONG": "not this one"})
    error = refusal(daemon)
    assert error.name == "credentials" and "id_encrypted" in error.text and "not this one" not in error.text


def test_encrypted_key_without_a_passphrase(make_daemon, sshd, target, keys):
    error = refusal(make_daemon({"targets": {"t": target(sshd, identity_file=keys.encrypted)}}))
    assert error.name == "credentials" and "passphrase" in error.text


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_certificate(make_daemon, make_sshd, target, keys, kind):
    server = make_sshd(f"TrustedUserCAKeys {keys.authority}.pub")
    os.chmod(keys.dir, 0o755)
    logs_in(make_daemon({"targets": {"t": target(server, identity_file=keys.certificate(kind, server.user))}}))


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_agent(make_daemon, sshd, target, keys, agent, kind):
    add(agent, keys.stranger)
    add(agent, getattr(keys, kind))
    settings = target(sshd, identity_agent=agent)
    del settings["identity_file"]
    logs_in(make_daemon({"targets": {"t": settings}}))


def test_agent_keys_that_the_target_does_not_accept_are_not_offered(make_daemon, make_sshd, target, keys, agent):
    server = make_sshd("LogLevel DEBUG2")
    add(agent, keys.rsa)
    add(agent, keys.ed25519)
    settings = target(server, identity_agent=agent, pubkey_accepted_algorithms="-rsa-*")
    del settings["identity_file"]
    logs_in(make_daemon({"targets": {"t": settings}}))
    assert server.log.matches(re.escape(fingerprint(keys.ed25519))) and not server.log.matches(
        re.escape(fingerprint(keys.rsa)))


def test_agent_by_environment(make_daemon, sshd, target, keys, agent):
    add(agent, keys.ed25519)
    settings = target(sshd, identity_agent="SSH_AUTH_SOCK")
    del settings["identity_file"]
    logs_in(make_daemon({"targets": {"t": settings}}, env={"SSH_AUTH_SOCK": agent}))


def test_agent_that_does_not_answer(make_daemon, sshd, target, tmp_path):
    """It accepts and is silent; the loop is not held up, and login_timeout bounds it."""
    import socket
    path = str(tmp_path / "deaf")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(path)
        deaf.listen()
        settings = target(sshd, identity_agent=path, login_timeout="700ms", acquire_timeout="2s")
        del settings["identity_file"]
        daemon = make_daemon({"targets": {"t": settings, "good": target(sshd)}})
        client = daemon.client()
        rid = client.start_acquire("t")
        assert daemon.leased("good").run("echo served").stdout == b"served\n"
        with pytest.raises(native.Error) as e:
            client.await_granted(rid, timeout=10)
        assert e.value.name in ("login-timeout", "credentials", "auth-failed")


def test_agent_that_is_not_there(make_daemon, sshd, target, tmp_path):
    settings = target(sshd, identity_agent=str(tmp_path / "none"))
    del settings["identity_file"]
    error = refusal(make_daemon({"targets": {"t": settings}}))
    assert error.name in ("credentials", "auth-failed") and "agent" in error.text


def test_rejected(make_daemon, make_sshd, target, keys):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, identity_file=keys.stranger)}})
    error = refusal(daemon)
    assert error.name == "auth-failed" and server.user in error.text
    # Not again by itself for ten minutes: an sshd counts such attempts.
    before = len(server.log.matches("Connection from"))
    begin = time.monotonic()
    assert refusal(daemon).name == "auth-failed" and time.monotonic() - begin < 1
    assert len(server.log.matches("Connection from")) == before
    # Once an operator has acted, it is tried again.
    with open(server.authorized_keys, "a", encoding="ascii") as f:
        f.write(keys.public(keys.stranger) + "\n")
    daemon.client().reload()
    logs_in(daemon)


def test_everybody_who_waits_is_told(make_daemon, make_sshd, target, keys):
    server = make_sshd()
    daemon = make_daemon({"targets": {"t": target(server, identity_file=keys.stranger)}})
    clients = [daemon.client() for _ in range(10)]
    rids = [c.start_acquire("t") for c in clients]
    for client, rid in zip(clients, rids):
        assert native.CODES[client.answer("ERROR", rid=rid).code] == "auth-failed"
    # One goes alone until it is known that the credentials work.
    assert len(server.log.matches("Connection from")) == 1


@pytest.mark.root
def test_password(make_daemon, make_sshd, target, password):
    server = make_sshd("PasswordAuthentication yes")
    settings = target(server, password=password)
    del settings["identity_file"]
    logs_in(make_daemon({"targets": {"t": settings}}))


@pytest.mark.root
def test_keyboard_interactive(make_daemon, make_sshd, target, password):
    server = make_sshd("UsePAM yes", "KbdInteractiveAuthentication yes", "AuthenticationMethods keyboard-interactive")
    settings = target(server, password=password)
    del settings["identity_file"]
    logs_in(make_daemon({"targets": {"t": settings}}))


@pytest.mark.root
def test_partial_success(make_daemon, make_sshd, target, password):
    server = make_sshd("PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    logs_in(make_daemon({"targets": {"t": target(server, password=password)}}))
    daemon = make_daemon({"targets": {"t": target(server)}})
    assert refusal(daemon).name == "auth-failed"
