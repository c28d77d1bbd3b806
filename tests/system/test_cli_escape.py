# SPDX-License-Identifier: MIT
"""Escape sequences at the terminal of `sshlease shell`, as ssh's."""

import os
import termios

import pytest

from daemon import program
from terminal import Terminal
from waiting import until

pytestmark = pytest.mark.pty


@pytest.fixture
def shell(daemon):
    """shell("--escape", "none" …): `sshlease shell t` on a terminal."""
    terminals = []

    def make(*args):
        terminals.append(Terminal([program("sshlease"), "shell", *args, "t"], {**daemon.cli_env(), "TERM": "xterm"}))
        terminals[-1].type("stty -echo; PS1=; echo re''ady\r")
        terminals[-1].expect("ready\r\n")
        return terminals[-1]
    yield make
    for one in terminals:
        one.close()


def test_it_ends(shell, daemon, sshd):
    t = shell()
    t.type("sleep 321 & sleep 123\r")
    t.type("~")
    t.type(".")
    t.expect("sshlease: t: ended by the escape sequence")
    assert t.wait() == 255
    sshd.await_nothing_remote()
    until(lambda: not daemon.status()["leases"], "the lease is over")


def test_only_at_the_beginning_of_a_line(shell):
    t = shell()
    t.type("echo a~.b\r")
    t.expect("a~.b\r\n")
    t.type("~")
    t.type("x 2>/dev/null; echo none of ours\r")
    t.expect("none of ours\r\n")
    t.type("echo c''at; cat; exit 6\r")
    t.expect("cat\r\n")
    t.type("~~. twice\r")
    t.expect("~. twice\r\n")
    t.type("\x04")
    assert t.wait() == 6


def test_it_lists_them_and_names_what_is_not_there(shell):
    t = shell()
    t.type("~?")
    assert b"~.   - end" in t.expect("start of a line only.)")
    t.type("~C")
    t.expect("~C is not available here; ~? lists what is")
    t.type("exit 3\r")
    assert t.wait() == 3


@pytest.mark.parametrize("word,typed,ends", [("%", "%.", True), ("^A", "\x01.", True), ("%", "~.", False), ("none", "~.", False)])
def test_another_one_or_none(shell, word, typed, ends):
    t = shell("--escape", word)
    t.type(typed)
    if not ends:
        t.type(" 2>/dev/null; exit 9\r")
    assert t.wait() == (255 if ends else 9)


def test_a_wrong_one(daemon):
    done = daemon.cli("shell", "--escape", "long", "t")
    assert done.returncode == 255 and b"long is not an escape character: write ~, ^X or none" in done.stderr


def test_it_is_suspended_and_goes_on(daemon):
    local = Terminal(["/bin/bash", "--norc", "-i"], {**daemon.cli_env(), "PS1": "local$ ", "TERM": "dumb"})
    try:
        local.expect("local$ ")
        local.type(f"{program('sshlease')} shell t\r")
        until(lambda: not local.attributes()[3] & termios.ICANON, "the terminal is raw")
        local.type("PS1=; stty -echo; echo re''ady\r")
        local.expect("ready\r\n")
        local.type("~\x1a")
        local.expect("Stopped")
        local.expect("local$ ")
        (lease,) = daemon.status()["leases"]
        with open(f"/proc/{lease['pid']}/stat", encoding="ascii") as f:
            assert f.read().rsplit(")", 1)[1].split()[0] == "T"
        local.resize(33, 77)
        local.type("echo he''re; fg\r")
        local.expect("here\r\n")
        local.expect("shell t\r\n")
        local.type("stty size; exit 4\r")
        local.expect("33 77")
        local.expect("local$ ")
        local.type("echo code $?\r")
        local.expect("code 4")
        local.type("exit\r")
        local.wait()
    finally:
        local.close()


def test_not_in_a_pipe(daemon):
    done = daemon.cli("shell", "t", data=b"~.\necho on\n")
    assert b"on\n" in done.stdout and b"escape" not in done.stderr, os.fsdecode(done.stderr)
