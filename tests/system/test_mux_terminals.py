# SPDX-License-Identifier: MIT
"""Sessions of the real ssh at the mux sockets, at a terminal: its modes, its window, what is typed there."""

import pytest

from ssh_tools import on_terminal, other_user
from terminal import Terminal

FAST = {"kill_grace": "300ms"}


@pytest.mark.pty
def test_a_terminal_its_modes_and_its_window(tools):
    with on_terminal(tools, "t", TERM="vt220") as terminal:
        before = terminal.attributes()
        terminal.type("stty -a; echo $TERM; tty; echo 'end''ed'\r")
        shown = terminal.expect("ended")
        assert b"rows 40; columns 100" in shown and b"vt220" in shown and b"/dev/pts/" in shown
        terminal.resize(33, 77)
        terminal.type("until [ \"$(stty size)\" = '33 77' ]; do sleep 0.05; done; echo re''sized\r")
        terminal.expect("resized")
        terminal.type("exit 7\r")
        assert terminal.wait() == 7
        assert terminal.attributes() == before


@pytest.mark.root
def test_a_window_of_who_cannot_signal_the_daemon(make_tools, sshd, target, account):
    tools = make_tools({"t": target(sshd, allow={"users": [account.pw_uid]})})
    words = other_user(tools, account)
    with on_terminal(tools, "-O", "check", "t", words=words, HOME="/") as terminal:
        terminal.expect("Master running (pid=1)")
        assert terminal.wait() == 0
    with on_terminal(tools, "t", words=words, HOME="/") as terminal:
        terminal.type("echo re''ady\r")
        terminal.expect("ready")
        terminal.resize(33, 77)
        terminal.type("until [ \"$(stty size)\" = '33 77' ]; do sleep 0.05; done; echo re''sized\r")
        terminal.expect("resized")
        terminal.type("exit\r")
        assert terminal.wait() == 0


@pytest.mark.pty
def test_modes_are_the_users(tools):
    words = " ".join(f"'{w}'" for w in tools.words("ssh", "-t", "t", "stty -a"))
    terminal = Terminal(["sh", "-c", f"stty intr ^X erase ^H -ixon; {words}"], tools.env())
    try:
        shown = terminal.expect("Shared connection")
        assert b"intr = ^X" in shown and b"erase = ^H" in shown and b"-ixon" in shown
        assert terminal.wait() == 0
    finally:
        terminal.close()


@pytest.mark.pty
def test_ctrl_c_ends_the_command_not_the_session(tools):
    with on_terminal(tools, "t") as terminal:
        terminal.type("sh -c 'echo sta\"\"rted; exec sleep 1000'\r")
        terminal.expect("started")
        terminal.type("\x03")
        terminal.type("echo un''hurt; exit\r")
        terminal.expect("unhurt")
        assert terminal.wait() == 130 or terminal.code == 0


@pytest.mark.pty
def test_escapes(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, **FAST)})
    with on_terminal(tools, "t") as terminal:
        terminal.type("echo $$ re''ady\r")
        terminal.expect("ready")
        terminal.type("~?")
        terminal.expect("Supported escape sequences")
        terminal.type("~C")
        terminal.expect("this escape is not available")
        terminal.type("~~\x15echo ti''lde\r")
        assert b"~" in terminal.expect("tilde")
        lease, = tools.await_leases(1)
        terminal.type("\r~.")
        assert terminal.wait() == 255
    tools.daemon.log.find(rf"lease={lease['id']} .*granted -> ended reason=client-gone")
    sshd.await_nothing_remote()


@pytest.mark.pty
def test_no_escapes_when_told_so_or_without_a_terminal(tools):
    with on_terminal(tools, "-e", "none", "t") as terminal:
        terminal.type("echo re''ady\r")
        terminal.expect("ready")
        terminal.type("~.\x15exit 5\r")
        assert terminal.wait() == 5
    assert tools.good("ssh", "t", "cat", data=b"~.\n") == b"~.\n"


@pytest.mark.pty
def test_a_forced_terminal_without_one_here(tools):
    done = tools.run("ssh", "-tt", "t", "tty; stty size")
    assert done.returncode == 0
    assert done.stdout.startswith(b"/dev/pts/") and done.stdout.endswith(b"0 0\r\n")


@pytest.mark.pty
def test_a_terminal_that_goes_away(make_tools, sshd, target):
    tools = make_tools({"t": target(sshd, **FAST)})
    with on_terminal(tools, "t") as terminal:
        terminal.type("echo re''ady; sleep 1000\r")
        terminal.expect("ready")
    tools.await_leases(0)
    sshd.await_nothing_remote()
