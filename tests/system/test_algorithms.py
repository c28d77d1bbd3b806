# SPDX-License-Identifier: MIT
"""What is offered, what a target may say about it, and what becomes of a server that has nothing in common with it."""

import re
import subprocess
import time

import pytest

import native
import sshd as sshd_module
from daemon import is_sanitized, libssh2_is_ours, program
from waiting import until


def refusal(daemon, name="t"):
    """At once, although acquire_timeout is 30 s: it takes 50 ms, and more on a busy machine."""
    begin = time.monotonic()
    with pytest.raises(native.Error) as e:
        daemon.client().acquire(name)
    assert time.monotonic() - begin < 5
    assert e.value.unsent and e.value.text.isprintable()
    return e.value


def runs(daemon, name="t"):
    return daemon.leased(name).run("echo in").stdout == b"in\n"


# What the server is restricted to, the setting of it, what is said of it, and the setting that makes it work.
OLD = [
    ("KexAlgorithms", "diffie-hellman-group14-sha1", "key exchange method", "kex_algorithms"),
    ("HostKeyAlgorithms", "ssh-rsa", "host key algorithm", "host_key_algorithms"),
    ("Ciphers", "aes128-cbc", "cipher", "ciphers"),
    ("MACs", "hmac-sha1-96,hmac-md5", "MAC", "macs"),
]


@pytest.mark.parametrize("option, names, kind, setting", OLD, ids=[row[3] for row in OLD])
def test_nothing_in_common(make_daemon, make_sshd, target, keys, option, names, kind, setting):
    # Without a cipher that brings its own, a MAC is needed.
    more = ["Ciphers aes128-ctr"] if option == "MACs" else []
    server = make_sshd(f"{option} {names}", *more, host_keys=[keys.host_rsa])
    settings = target(server)
    daemon = make_daemon({"targets": {"t": settings}})
    error = refusal(daemon)
    assert error.name == "no-algorithm"
    best = names.split(",")[0]
    assert (f"127.0.0.1:{server.port}: the server offers no {kind} that this target allows: it offers "
            f"{names.replace(',', ', ')}; \"{setting}: +{best}\" would allow one, see sshleased.yaml(5)") in error.text
    # Who asks again is told the same, without another dial.
    server.log.find("Connection from")
    assert refusal(daemon).text.startswith(error.text.split("; next try")[0])
    assert len(server.log.matches("Connection from")) == 1
    # The setting that it names is the one that helps, at once.
    daemon.write_config({"targets": {"t": {**settings, setting: f"+{best}"}}})
    daemon.client().reload()
    assert runs(daemon)


def test_sha1_macs_are_offered_last(make_daemon, make_sshd, target):
    old = make_sshd("MACs hmac-sha1", "Ciphers aes128-ctr")
    both = make_sshd("MACs hmac-sha1,hmac-sha2-512", "Ciphers aes128-ctr")
    daemon = make_daemon({"targets": {"old": target(old), "both": target(both)}}, args=["--log-level", "debug"])
    assert runs(daemon, "old") and runs(daemon, "both")
    assert daemon.log.matches(r"mac=hmac-sha1$") and daemon.log.matches(r"mac=hmac-sha2-512$")


def test_what_the_library_does_not_do_safely_is_asked_for_by_name(make_daemon, make_sshd, target):
    etm = make_sshd("MACs hmac-sha2-256-etm@openssh.com", "Ciphers aes128-ctr")
    chacha = make_sshd("Ciphers chacha20-poly1305@openssh.com")
    daemon = make_daemon({"targets": {"etm": target(etm), "chacha": target(chacha)}})
    if libssh2_is_ours():
        assert runs(daemon, "etm") and runs(daemon, "chacha"), "the mended library does both safely"
        return
    assert '"macs: +hmac-sha2-256-etm@openssh.com" would allow one, at a risk: see' in refusal(daemon, "etm").text
    assert '"ciphers: +chacha20-poly1305@openssh.com" would allow one, at a risk: see' in refusal(daemon, "chacha").text
    daemon.write_config({"targets": {"etm": target(etm, macs="+hmac-sha2-256-etm@openssh.com"),
                                     "chacha": target(chacha, ciphers=["^chacha20-poly1305@openssh.com"])}})
    daemon.client().reload()
    assert runs(daemon, "etm") and runs(daemon, "chacha")


def test_ciphers_that_need_no_mac_are_preferred_where_there_is_none(make_daemon, make_sshd, target):
    """What hardening guides make of sshd: encrypt-then-MAC only, and GCM."""
    server = make_sshd("MACs hmac-sha2-256-etm@openssh.com", "Ciphers aes128-ctr,aes256-gcm@openssh.com")
    settings = target(server, retry_min="100ms", macs="-*-etm@openssh.com")
    daemon = make_daemon({"targets": {"t": settings}}, args=["--log-level", "debug"])
    assert runs(daemon) and runs(daemon)
    learned = "ciphers: those without a MAC first, the server has no other MAC than what is not offered"
    assert len(daemon.log.matches(f'learned="{learned}"')) == 1
    assert len(daemon.log.matches(r"cipher=aes256-gcm@openssh\.com")) == 2
    assert len(daemon.log.matches(r"gone -> dialing")) == 3
    # An order of the user's own is theirs.
    daemon.write_config({"targets": {"t": {**settings, "ciphers": "aes128-ctr,aes256-gcm@openssh.com"}}})
    daemon.client().reload()
    assert '"ciphers: ^aes256-gcm@openssh.com", which needs none, would do' in refusal(daemon).text
    daemon.write_config({"targets": {"t": {**settings, "ciphers": "^aes256-gcm@openssh.com"}}})
    daemon.client().reload()
    assert runs(daemon)


def test_what_no_setting_can_help(make_daemon, make_sshd, target):
    server = make_sshd("KexAlgorithms sntrup761x25519-sha512@openssh.com")
    error = refusal(make_daemon({"targets": {"t": target(server)}}))
    assert error.name == "no-algorithm"
    assert ("the server offers no key exchange method that the SSH library of this build has (it offers "
            "sntrup761x25519-sha512@openssh.com): no setting can help, the server must offer another") in error.text


def test_a_server_that_was_changed_is_found_after_retry_max(make_daemon, make_sshd, target):
    server = make_sshd("Ciphers aes128-cbc")
    daemon = make_daemon({"targets": {"t": target(server, retry_min="50ms", retry_max="300ms")}})
    assert "next try in" in refusal(daemon).text
    server.kill()
    server.options = []
    server.start()
    client = daemon.client()

    def granted():
        try:
            client.acquire("t")
            return True
        except native.Error as e:
            assert e.name == "no-algorithm"
            return False
    until(granted, "a lease")
    assert client.run("echo in").stdout == b"in\n"


def check(tmp_path, settings):
    path = tmp_path / "config.yaml"
    path.write_text(f"defaults: {{user: u, identity_agent: /run/agent}}\ntargets:\n  a:\n    {settings}\n")
    done = subprocess.run([program("sshleased"), "--user", "--check-config", str(path)], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stderr.replace(f"{path}:", "")


def library_has(tmp_path, setting):
    code, text = check(tmp_path, f"{setting}: unheard-of")
    found = re.fullmatch(rf'4:\d+: {setting} "unheard-of" is not one that this build\'s SSH library has; it has (.*)\n', text)
    assert code == 1 and found, text
    return found[1].split(", ")


def test_check_config_knows_what_the_library_has(tmp_path):
    assert check(tmp_path, "macs: [^hmac-sha1, hmac-md5*]") == (0, "")
    assert check(tmp_path, "pubkey_accepted_algorithms: -ssh-ed25519*,ecdsa-*") == (0, "")
    code, text = check(tmp_path, "host_key_algorithms: +ssh-ed25519-cert-v01@openssh.com")
    assert code == 1 and text.startswith('4:26: host_key_algorithms "ssh-ed25519-cert-v01@openssh.com" is not one')


@pytest.mark.parametrize("setting, option", [("kex_algorithms", "KexAlgorithms"), ("ciphers", "Ciphers"),
                                             ("macs", "MACs"), ("host_key_algorithms", "HostKeyAlgorithms")])
def test_every_name_that_may_be_given_works(make_daemon, make_sshd, target, keys, tmp_path, setting, option):
    more = ["Ciphers aes128-ctr"] if setting == "macs" else []
    tried = []
    for name in library_has(tmp_path, setting):
        if not sshd_module.supports(f"{option} {name}"):
            continue
        if name.startswith("ecdh-") and is_sanitized() and not libssh2_is_ours():
            continue  # it forgets the server's public key at each of these exchanges, and OpenSSL owns the memory
        host_key = (keys.host_rsa if "rsa" in name else keys.host_ecdsa if name == "ecdsa-sha2-nistp256" else keys.host)
        if setting == "host_key_algorithms" and name.startswith("ecdsa") and host_key != keys.host_ecdsa:
            continue
        server = make_sshd(f"{option} {name}", *more, host_keys=[host_key])
        daemon = make_daemon({"targets": {"t": target(server, **{setting: name})}})
        assert runs(daemon), name
        server.stop()
        tried.append(name)
    assert len(tried) >= 5, tried


def accepted(server, key):
    """How often the server was asked about the key: ssh asks, and so does the daemon, before it signs."""
    return len(server.log.matches(re.escape(sshd_module.fingerprint(key))))


def test_keys_that_the_target_does_not_accept_are_not_offered(make_daemon, make_sshd, target, keys):
    server = make_sshd("LogLevel DEBUG2")
    both = [keys.rsa, keys.ed25519]
    daemon = make_daemon({"targets": {
        "t": target(server, identity_file=both, pubkey_accepted_algorithms="-*rsa*"),
        "none": target(server, identity_file=both, pubkey_accepted_algorithms="ecdsa-*"),
    }})
    assert runs(daemon)
    assert accepted(server, keys.ed25519) > 0 and accepted(server, keys.rsa) == 0
    with pytest.raises(native.Error) as e:
        daemon.client().acquire("none")
    assert e.value.name == "credentials"
    assert f"{keys.rsa}: pubkey_accepted_algorithms has nothing for ssh-rsa" in e.value.text


@pytest.mark.parametrize("name", ["rsa-sha2-256", "rsa-sha2-512"])
def test_rsa_signs_with_what_is_accepted(make_daemon, make_sshd, target, keys, name):
    server = make_sshd("LogLevel DEBUG2")
    assert runs(make_daemon({"targets": {
        "t": target(server, identity_file=keys.rsa, pubkey_accepted_algorithms=name)}}))
    other = {"rsa-sha2-256": "rsa-sha2-512", "rsa-sha2-512": "rsa-sha2-256"}[name]
    assert server.log.matches(rf"pkalg {name}\b") and not server.log.matches(rf"pkalg {other}\b")
