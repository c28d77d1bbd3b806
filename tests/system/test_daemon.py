# SPDX-License-Identifier: MIT
"""The daemon as a process: its arguments, its socket, its signals, its end."""

import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import pytest

import native
import procs
from daemon import program, sanitizer_env
from services import Service
from waiting import until


def sshleased(*args, timeout=30, env=None, wrap=()):
    return subprocess.run([*wrap, program("sshleased"), *map(str, args)], capture_output=True, text=True, timeout=timeout, check=False,
                          stdin=subprocess.DEVNULL, env={**os.environ, **sanitizer_env(), **(env or {})})


@pytest.fixture
def open_directory():
    """One that every account can look into, which pytest's own are not."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sshlease-system-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(option):
    done = sshleased(option)
    assert done.returncode == 0 and done.stdout and not done.stderr
    if option == "--version":
        assert "sshlease" in done.stdout and "libssh2 1." in done.stdout
    else:
        assert "--config" in done.stdout and "--check-config" in done.stdout


def test_unknown_arguments():
    done = sshleased("--nonsense")
    assert done.returncode == 2 and "--nonsense" in done.stderr and len(done.stderr.splitlines()) <= 3


def test_check_config(tmp_path, sshd, target):
    good = tmp_path / "good.yaml"
    one = target(sshd)
    good.write_text(json.dumps({"targets": {"t": one, "u": {**one, "user_known_hosts_file": str(tmp_path / "later")}},
                                "defaults": {"allow": {"users": "root"}}}))
    done = sshleased("--check-config", good, *as_root)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr
    first, *files = done.stdout.splitlines()
    assert first.startswith(f"{good}: no errors, 2 targets, read as ")
    # Each once, in order.
    assert [line.split(" (")[0] for line in files if "/etc/" not in line] == sorted([
        f"can read {one['identity_file']}", f"can read {one['user_known_hosts_file']}", f"not there: {tmp_path / 'later'}"],
        key=lambda line: line.split()[-1])
    bad = tmp_path / "bad.yaml"
    bad.write_text("limits: {clients: many}\nnonsense: 1\ntargets:\n  t:\n    host: h\n    port: 70000\n"
                   "    identity_file: /nowhere/key\n    idle_timeout: 5 parsecs\n  t: {host: x}\n")
    done = sshleased("--check-config", bad)
    assert done.returncode != 0
    for where in (f"{bad}:1:19:", f"{bad}:2:1:", f"{bad}:6:11:", f"{bad}:7:20:", f"{bad}:8:19:", f"{bad}:9:3:"):
        assert where in done.stderr + done.stdout, (where, done.stderr)


as_root = ["--account", "root"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["--check-config", "FILE"]])
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_an_error(tmp_path, words, redirection):
    (tmp_path / "good.yaml").write_text("targets: {}\n")
    words = [word.replace("FILE", str(tmp_path / "good.yaml")) for word in words + as_root]
    done = subprocess.run(["/bin/sh", "-c", f'"$@" {redirection}', "sh", program("sshleased"), *words], capture_output=True,
                          text=True, timeout=30, check=False, env={**os.environ, **sanitizer_env()})
    assert done.returncode == 1
    assert done.stderr in (f"sshleased: cannot write to standard output: {reason}\n"
                           for reason in ("Bad file descriptor", "No space left on device"))


def check_as(account, file, wrap=(), **env):
    """As root, who becomes the account. LeakSanitizer cannot look into a process that has changed its user."""
    options = sanitizer_env()["ASAN_OPTIONS"].replace("detect_leaks=1", "detect_leaks=0")
    return sshleased("--check-config", file, "--account", account, wrap=wrap,
                     env={"ASAN_OPTIONS": options, **env})


def write_config(directory, key, **settings):
    file = directory / "sshleased.yaml"
    file.write_text(json.dumps({"targets": {"t": {"host": "h", "user": "u", "identity_file": key and str(key),
                                                  "user_known_hosts_file": str(directory / "known_hosts"), **settings}}}))
    return file


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_check_config_by_the_rights_of_the_service_s_account(open_directory):
    """As root nothing is ever unreadable."""
    key, known_hosts = open_directory / "key", open_directory / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    known_hosts.write_text("")
    known_hosts.chmod(0o600)
    file = write_config(open_directory, key)
    done = check_as("daemon", file)
    assert done.returncode == 1 and not done.stdout
    assert f'identity_file "{key}" cannot be read (Permission denied)' in done.stderr
    assert f'user_known_hosts_file "{known_hosts}" cannot be read (Permission denied)' in done.stderr
    assert done.stderr.splitlines()[-1] == "sshleased: the files were read as daemon (--account NAME: as another)"
    for path in (key, known_hosts):
        shutil.chown(path, "daemon")
    done = check_as("daemon", file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{file}: no errors, 1 target, read as daemon\n")
    assert f"can read {key} (but sshleased.service sees nothing there" in done.stdout
    assert "note: target \"t\" has no allow" in done.stderr
    # Nor do root's groups come along, which a login has and a test may not.
    shutil.chown(known_hosts, "root", "root")
    known_hosts.chmod(0o640)
    done = check_as("daemon", file, wrap=["setpriv", "--groups", "0"])
    assert done.returncode == 1 and f'"{known_hosts}" cannot be read (Permission denied)' in done.stderr
    file.chmod(0o600)
    assert f"{file}: cannot be read (Permission denied)" in check_as("daemon", file).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_check_config_leaves_credentials_to_root(open_directory):
    """systemd hands root's files to the service; and an agent of root's is none of the service's."""
    (open_directory / "secret").write_text("x")
    (open_directory / "secret").chmod(0o600)
    file = write_config(open_directory, [], password={"credential": "secret"}, allow={"users": "root"})
    done = check_as("daemon", file, CREDENTIALS_DIRECTORY=str(open_directory))
    assert done.returncode == 0, done.stderr
    done = check_as("daemon", file)
    assert "CREDENTIALS_DIRECTORY is not set; give the service LoadCredential= and restart it" in done.stderr
    file = write_config(open_directory, [], identity_agent="SSH_AUTH_SOCK")
    done = check_as("daemon", file, SSH_AUTH_SOCK="/tmp/agent")
    assert done.returncode == 1 and "SSH_AUTH_SOCK, which the daemon's environment does not have" in done.stderr


def test_accounts_that_cannot_be_taken(tmp_path):
    file = write_config(tmp_path, [])
    done = sshleased("--check-config", file, "--account", "no-such-account")
    assert done.returncode == 1 and "there is no account no-such-account to check as" in done.stderr
    done = sshleased("--account", "daemon")
    assert done.returncode == 2 and "--check-config" in done.stderr


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o640, 0o660])
def test_keys_that_are_not_for_the_daemon_alone(tmp_path, mode):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    key.chmod(mode)
    done = sshleased("--check-config", write_config(tmp_path, key), *as_root)
    assert done.returncode == 1
    assert f'identity_file "{key}" is an UNPROTECTED PRIVATE KEY FILE: its mode is {mode:04o}; give it 0600' in done.stderr
    key.chmod(0o400)
    assert sshleased("--check-config", write_config(tmp_path, key), *as_root).returncode == 0
    done = sshleased("--check-config", write_config(tmp_path, f"{key}.pub"), *as_root)
    assert done.returncode == 1
    assert f'identity_file "{key}.pub" is a public key; give the private key, whose file has no .pub' in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has keys of others")
def test_a_key_for_a_group_that_the_service_is_in(open_directory):
    key = open_directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    key.chmod(0o640)
    shutil.chown(key, "root", "daemon")
    assert check_as("daemon", write_config(open_directory, key)).returncode == 0
    key.chmod(0o644)
    assert "UNPROTECTED PRIVATE KEY FILE" in check_as("daemon", write_config(open_directory, key)).stderr


def test_a_target_that_nobody_may_lease_is_noted_in_the_log(make_daemon, sshd, target):
    config = {"targets": {"t": target(sshd)}}
    daemon = make_daemon(config)
    daemon.log.find(r" notice config .*note: target .*has no allow")
    assert daemon.cli("reload").returncode == 0
    assert len(daemon.log.matches("has no allow")) == 2
    daemon.write_config({**config, "defaults": {"allow": {"users": ["root"]}}})
    assert daemon.cli("reload").returncode == 0
    assert len(daemon.log.matches("has no allow")) == 2


def test_a_missing_configuration(tmp_path):
    done = sshleased("--config", tmp_path / "none.yaml")
    assert done.returncode != 0 and "none.yaml" in done.stderr and "No such file" in done.stderr


def test_the_socket_s_mode_and_its_going(make_daemon, tmp_path, sshd, target):
    daemon = make_daemon({"listen": {"path": str(tmp_path / "x.sock"), "mode": "0620"}, "targets": {"t": target(sshd)}},
                         start=False)
    daemon.path = str(tmp_path / "x.sock")
    daemon.start()
    mode = os.stat(daemon.path)
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o620
    assert [n for n in os.listdir(tmp_path) if n.startswith("x.sock")] == ["x.sock"]


def test_a_live_daemon_is_left_alone(daemon, make_daemon):
    second = make_daemon(daemon.config, start=False)
    second.config_file = daemon.config_file
    second.sane_end = False
    second.spawn()
    assert second.await_exit() != 0
    assert second.log.matches(f"{daemon.path}.*|.*already|.*in use"), second.log.lines
    assert daemon.leased().run("echo alive").stdout == b"alive\n"


def test_a_stale_socket_is_replaced(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}})
    daemon.leased().run("true")
    daemon.kill()
    assert os.path.exists(daemon.path)
    daemon.sane_end = True
    daemon.start()
    assert daemon.leased().run("echo again").stdout == b"again\n"


def test_another_kind_of_file_is_left_alone(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}}, start=False)
    with open(daemon.path, "w", encoding="ascii") as f:
        f.write("precious")
    daemon.sane_end = False
    daemon.spawn()
    assert daemon.await_exit() != 0
    with open(daemon.path, encoding="ascii") as f:
        assert f.read() == "precious"
    assert any(daemon.path in line for line in daemon.log.lines)


@pytest.mark.parametrize("path,word", [("/" + "x" * 120, "long"), ("/nowhere/at/all/s.sock", "No such file")])
def test_a_socket_path_that_cannot_be(make_daemon, tmp_path, path, word):
    daemon = make_daemon({"listen": {"path": str(tmp_path) + path if word == "long" else path}}, start=False)
    daemon.sane_end = False
    daemon.spawn()
    assert daemon.await_exit() not in (0, -6, -11)
    assert any(word in line for line in daemon.log.lines), daemon.log.lines


def test_systemd_s_socket_is_used_and_left(make_daemon, sshd, target):
    """Socket activation: descriptor 3 is the listening socket."""
    daemon = make_daemon({"targets": {"t": target(sshd)}}, start=False)
    service = Service(daemon, True)
    early = native.Client(daemon.path, hello=False)
    early.send("HELLO", magic=b"sshlease", version_min=1, version_max=1, program="early")
    service.start()
    early.answer("WELCOME")
    early.close()
    assert daemon.leased().run("echo activated").stdout == b"activated\n"
    service.end()
    assert os.path.exists(daemon.path)
    service.close()


# --- ends ---

def test_sigterm_waits_for_leases(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd)}, "limits": {"shutdown_drain": "30s"}})
    client = daemon.leased()
    stream = client.exec("read x; echo $x").await_opened()
    waiting = daemon.client()
    daemon.signal(signal.SIGTERM)
    until(lambda: json.loads(waiting.status())["state"] == "stopping", "the daemon stopping")
    with pytest.raises(native.Error) as e:
        waiting.acquire("t")
    assert e.value.name == "shutdown" and e.value.unsent
    stream.write(b"finished\n")
    assert stream.await_end().exit_status == 0 and stream.stdout == b"finished\n"
    client.release()
    assert daemon.await_exit() == 0


def test_signals_do_not_disturb_the_end(make_daemon):
    """However many, and however late, they come."""
    daemon = make_daemon({})
    daemon.signal(signal.SIGTERM)
    for n in range(1 << 30):
        if daemon.process.poll() is not None:
            break
        daemon.signal((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[n % 3])
        time.sleep(0.001)
    assert daemon.await_exit() == 0


def test_a_second_sigterm_ends_it_now(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, kill_grace="200ms")}, "limits": {"shutdown_drain": "60s"}})
    client = daemon.leased()
    stream = client.exec("echo $$; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    mark = daemon.log.mark()
    daemon.signal(signal.SIGTERM)
    daemon.log.find(r"(?i)(stopp|shut|drain|signal)", after=mark)
    assert not watch.gone(0.2) and not client.ended
    daemon.signal(signal.SIGTERM)
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "shutdown"
    assert daemon.await_exit() == 0
    watch.await_gone()


def test_the_drain_ends(make_daemon, sshd, target):
    """After shutdown_drain what is still leased is reclaimed, remote commands and all."""
    daemon = make_daemon({"targets": {"t": target(sshd, kill_grace="200ms")}, "limits": {"shutdown_drain": "500ms"}})
    client = daemon.leased()
    stream = client.exec("setsid sleep 300 & echo $!; exec sleep 300").await_opened()
    watch = procs.Watch(int(stream.await_output("\n")))
    daemon.signal(signal.SIGTERM)
    client.pump(lambda: client.ended)
    assert native.CODES[client.ended.code] == "shutdown"
    assert daemon.await_exit() == 0
    watch.await_gone()
    sshd.await_nothing_remote(timeout=5)


def test_sigint_is_like_sigterm(daemon):
    daemon.signal(signal.SIGINT)
    assert daemon.await_exit() == 0


def test_sigterm_while_dialing(make_daemon, sshd, make_proxy, target):
    proxy = make_proxy(sshd)
    proxy.black_hole = True
    daemon = make_daemon({"targets": {"t": target(sshd, via=proxy)}})
    client = daemon.client()
    rid = client.start_acquire("t")
    daemon.await_connections(dialing=1)
    daemon.signal(signal.SIGTERM)
    assert native.CODES[client.answer("ERROR", rid=rid).code] == "shutdown"
    assert daemon.await_exit() == 0


def test_a_killed_daemon_is_known_at_once(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=1)}})
    leased, waiting = daemon.leased(), daemon.client()
    leased.exec("exec sleep 300").await_opened()
    waiting.start_acquire("t")
    waiting.status()
    begin = time.monotonic()
    daemon.kill()
    for client in (leased, waiting):
        with pytest.raises(native.Closed):
            client.pump(lambda: False, timeout=10)
    assert time.monotonic() - begin < 5
    sshd.kill_remote()


def test_it_leaves_no_core_and_hides_its_memory(daemon):
    with open(f"/proc/{daemon.pid}/limits", encoding="ascii") as f:
        line = next(x for x in f if x.startswith("Max core file size"))
    assert line.split()[4] == "0"


def test_the_log_has_one_line_per_fact_and_no_commands(daemon):
    client = daemon.leased(label="evil\nlabel=\"x\"")
    client.run("echo the-secret-command")
    client.close()
    daemon.log.find("reason=client-gone")
    assert not any("the-secret-command" in line for line in daemon.log.lines)
    assert not any(line.startswith('label="x"') for line in daemon.log.lines)
    assert len(daemon.log.matches("^\\S+ notice lease .*granted -> ended reason=client-gone")) == 1
