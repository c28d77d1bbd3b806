# SPDX-License-Identifier: MIT
"""`sshlease ssh-config` and `sshlease mux-ensure`, understood by the real ssh."""

import os
import subprocess

import pytest

import native
import ssh_tools
from waiting import until


def settings(tools, *words):
    """What ssh makes of its configuration for a command line: {"controlpath": …}."""
    said = tools.good("ssh", "-G", *words).decode()
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


def test_ssh_understands_every_block(make_tools, sshd, target):
    tools = make_tools({name: target(sshd) for name in ("web1", "db.example", "a_b-c")})
    for name in ("web1", "db.example", "a_b-c"):
        found = settings(tools, name)
        assert found["controlpath"] == os.path.join(tools.dir, "mux", f"{sshd.user}@{name}") and found["user"] == sshd.user
        assert found["controlmaster"] == "false" and found["proxycommand"].startswith("sh -c ")
        assert tools.good("ssh", name, "echo in").strip() == b"in"
    assert "controlpath" not in settings(tools, "elsewhere")
    tools.write_config("web1")
    assert "controlpath" in settings(tools, "web1") and "controlpath" not in settings(tools, "db.example")


@pytest.mark.parametrize("name", ["with space", "100%h", "quo\"te\\d", "a#b", "it's", "üñí"])
def test_directories_of_any_name(make_daemon, sshd, target, tmp_path_factory, name):
    directory = tmp_path_factory.mktemp("d")
    daemon = make_daemon({"mux": {"directory": str(directory / name)}, "targets": {"t": target(sshd)}})
    tools = ssh_tools.Tools(daemon, str(directory))
    assert tools.good("ssh", "t", "echo in").strip() == b"in"
    # Nobody answers there now: the guard's own quoting is good, too.
    daemon.write_config({"targets": {"t": target(sshd)}})
    with daemon.client() as client:
        client.reload()
    done = tools.run("ssh", "t", "echo out")
    assert done.returncode == 255 and not done.stdout
    assert b"sshlease: no sshleased answers at /" in done.stderr and b"syntax" not in done.stderr.lower()


def test_another_user_is_refused(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd)})
    mine = b"sshlease: t logs in as %s, not as the user that was asked for\n" % sshd.user.encode()
    for words in (["nobody@t"], ["-l", "nobody", "t"], ["-o", "User=nobody", "t"]):
        done = tools.run("ssh", *words, "id -un")
        assert (done.returncode, done.stdout) == (255, b"") and mine in done.stderr, done
    for words in (["t"], [f"{sshd.user}@t"], ["-l", sshd.user, "t"]):
        assert tools.good("ssh", *words, "id -un").decode().strip() == sshd.user
    done = tools.run("rsync", "-a", "nobody@t:/etc/hostname", tools.dir)
    assert done.returncode != 0 and mine in done.stderr
    # A socket of the target's name alone is there as before.
    assert tools.good("ssh", "-S", os.path.join(tools.dir, "mux", "t"), "t", "echo in") == b"in\n"


def test_an_ssh_that_does_not_ask_us(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd)})
    path = os.path.join(tools.dir, "mux", f"{sshd.user}@t")
    past = f"sshlease: sshleased answers at {path}, this ssh went past it: by -S, -M or a ControlPath of its own\n".encode()
    for words in (["-S", "none"], ["-M"], ["-S", f"{tools.dir}/own"], ["-o", "ControlPath=none"]):
        done = tools.run("ssh", *words, "t", "true")
        assert done.returncode == 255 and past in done.stderr and b"no sshleased" not in done.stderr, done
    tools.daemon.stop()
    for words in ([], ["-S", "none"]):
        done = tools.run("ssh", *words, "t", "true")
        assert done.returncode == 255 and f"sshlease: no sshleased answers at {path}\n".encode() in done.stderr, done


def test_a_socket_that_a_killed_daemon_left(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd)})
    tools.daemon.signal(9)
    tools.daemon.await_exit()
    done = tools.run("ssh", "t", "true")
    assert done.returncode == 255 and b"Connection refused" in done.stderr and b"sshlease: no sshleased answers at" in done.stderr
    tools.daemon.start()
    assert tools.good("ssh", "t", "echo in") == b"in\n"


def test_without_mux_it_is_said(daemon):
    for words in (["ssh-config"], ["ssh-config", "t"], ["ssh-config", "--ansible"]):
        done = daemon.cli(*words)
        assert (done.returncode, done.stdout) == (1, b"") and b"mux" in done.stderr, done
    done = daemon.cli("mux-ensure", "--print", "t")
    assert (done.returncode, done.stdout) == (255, b"") and b"mux" in done.stderr


def test_the_protocol_tells_the_same(tools, sshd):
    client = native.Client(tools.daemon.path, hello=False)
    client.send("HELLO", magic=native.MAGIC, version_min=2, version_max=2, program="test")
    client.answer("WELCOME")
    rid = client.rid()
    client.send("MUX", rid=rid, target="t")
    path = client.answer("MUX_PATH", rid=rid).path
    assert path == os.path.join(tools.dir, "mux", f"{sshd.user}@t")
    assert tools.daemon.cli("mux-ensure", "-p", "t").stdout.decode() == path + "\n"
    rid = client.rid()
    client.send("MUX", rid=rid, target="nobody")
    assert client.answer("ERROR", rid=rid).code == 20
    client.close()


def test_a_target_that_comes_and_goes(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd)})
    paths = [os.path.join(tools.dir, "mux", name) for name in ("t", "new")]
    config = dict(tools.daemon.config)

    def reload(*names):
        tools.daemon.write_config({**config, "targets": {name: target(sshd) for name in names}})
        assert tools.daemon.cli("reload").returncode == 0
        until(lambda: [os.path.exists(p) for p in paths] == [name in names for name in ("t", "new")], f"sockets of {names}")

    reload("t", "new")
    tools.write_config()
    assert tools.good("ssh", "new", "echo in").strip() == b"in"
    reload("new")
    done = tools.run("ssh", "t", "echo in")
    assert done.returncode == 255 and b"sshlease: no sshleased answers at" in done.stderr


# --- the one-user mode ---

@pytest.fixture
def own(make_daemon, sshd, keys, tmp_path_factory):
    """A daemon of one's own that knows no target, and ssh with the lines for the sshd's address."""
    directory = tmp_path_factory.mktemp("o")
    known_hosts = directory / "known_hosts"
    known_hosts.write_text(sshd.known_hosts_line())
    os.chmod(directory, 0o700)
    login = {"identity_file": keys.ed25519, "user_known_hosts_file": str(known_hosts)}
    daemon = make_daemon({"defaults": login}, args=["--user"], env={"XDG_RUNTIME_DIR": str(directory)})
    tools = ssh_tools.Tools.__new__(ssh_tools.Tools)
    tools.daemon, tools.dir, tools.config = daemon, str(directory), str(directory / "ssh_config")
    tools.write_config(f"{sshd.user}@127.0.0.1:{sshd.port}")
    return tools


def test_a_destination_is_made_when_ssh_asks_for_it(own, sshd):
    sockets = os.path.join(own.dir, "sshleased-mux")
    name = f"{sshd.user}@127.0.0.1:{sshd.port}"
    assert settings(own, "127.0.0.1")["controlpath"] == os.path.join(sockets, name)
    for words in (["127.0.0.1"], [f"{sshd.user}@127.0.0.1"], ["-p", sshd.port, "-l", sshd.user, "127.0.0.1"]):
        assert own.good("ssh", *words, "echo in").strip() == b"in"
    assert own.daemon.target(name)["connections"]["idle"] == 1
    assert os.listdir(sockets) == [name]
    # Gone with the daemon; and a new one has it again when ssh asks.
    own.daemon.signal(15)
    assert own.daemon.await_exit() == 0 and not os.path.exists(os.path.join(sockets, name))
    done = own.run("ssh", "127.0.0.1", "echo in")
    assert done.returncode == 255 and not done.stdout
    assert b"no sshleased is listening" in done.stderr and b"no sshleased answers" in done.stderr
    own.daemon.start()
    assert own.good("ssh", "127.0.0.1", "echo in").strip() == b"in"
    done = own.run("ssh", "-S", "none", "127.0.0.1", "echo in")
    assert done.returncode == 255 and b"this ssh went past it: by -S" in done.stderr and b"no sshleased" not in done.stderr


def test_mux_ensure_of_what_cannot_be(own, sshd):
    for name in ("you@bad host", "you@host:0", "you@host:99999", "-p"):
        done = own.daemon.cli("mux-ensure", name)
        assert done.returncode == 255 and done.stderr.startswith(b"sshlease: "), name
    done = own.daemon.cli("mux-ensure", f"you@{'h' * 200}:22")
    assert done.returncode == 255 and b"long" in done.stderr
    done = own.daemon.cli("mux-ensure", "--print", "you@fe80::1%lo:22")
    assert done.stdout.decode().strip() == os.path.join(own.dir, "sshleased-mux", "you@fe80::1%lo:22"), done
    done = own.daemon.cli("mux-ensure", "--print", "You@HOST:22")
    assert done.stdout.decode().strip().endswith("/You@host:22")


def test_several_at_once_make_one_socket(own, sshd):
    children = [own.start("ssh", "127.0.0.1", "echo in", stdin=subprocess.DEVNULL) for _ in range(8)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert (child.returncode, out, err) == (0, b"in\n", b"")
    assert len(os.listdir(os.path.join(own.dir, "sshleased-mux"))) == 1
