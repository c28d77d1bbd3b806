# SPDX-License-Identifier: MIT
"""Terminal sessions of ssh over the daemon, at tmux as a person would have them."""

import os
import re
import shutil
import subprocess
import tempfile

import pytest

from waiting import until

pytestmark = [pytest.mark.pty, pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux")]


class Tmux:
    """A server of its own with one window, in which `words` run under a shell that says how they ended."""

    def __init__(self, tools, words, cols=90, rows=30):
        self.dir = tempfile.mkdtemp(prefix="sshlease-tmux.")
        self.env = {**tools.env(), "TERM": "xterm-256color"}
        script = os.path.join(self.dir, "script")
        with open(script, "w", encoding="utf-8") as f:
            quoted = " ".join("'" + w.replace("'", "'\\''") + "'" for w in words)
            # What the terminal is like before and afterwards has to be the same.
            f.write(f"stty -a >{self.dir}/before\n{quoted}\necho \"ended with $?\"\nstty -a >{self.dir}/after\ncat\n")
        self.tmux("new-session", "-d", "-x", cols, "-y", rows, "/bin/sh", script)

    def tmux(self, *words):
        return subprocess.run(["tmux", "-S", f"{self.dir}/socket", "-f", "/dev/null", *map(str, words)], env=self.env,
                              check=True, capture_output=True, timeout=20).stdout.decode()

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def line(self, text):
        self.tmux("send-keys", "-l", text)
        self.type("Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J")

    def expect(self, pattern, timeout=20.0):
        return until(lambda: re.search(pattern, self.screen(), re.MULTILINE),
                     lambda: f"{pattern!r} on the screen:\n{self.screen()}", timeout, interval=0.03)

    def resize(self, cols, rows):
        self.tmux("resize-window", "-x", cols, "-y", rows)

    def await_end(self, code):
        self.expect(rf"^ended with {code}$")
        until(lambda: os.path.exists(f"{self.dir}/after"), "the terminal's settings after it")

        def settings():
            found = []
            for name in ("before", "after"):
                with open(f"{self.dir}/{name}", encoding="ascii") as f:
                    found.append(re.sub(r"rows \d+; columns \d+", "", f.read()))
            return found
        until(lambda: settings()[1].count("\n") == settings()[0].count("\n"), "all of the settings")
        before, after = settings()
        assert before == after

    def close(self):
        subprocess.run(["tmux", "-S", f"{self.dir}/socket", "kill-server"], check=False, capture_output=True, env=self.env)
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture
def tmux(tools):
    open_ones = []

    def make(*args, **more):
        open_ones.append(Tmux(tools, tools.words("ssh", *args), **more))
        return open_ones[-1]
    yield make
    for one in open_ones:
        one.close()


def test_a_login_shell(tmux, tools):
    window = tmux("t")
    window.line("echo it is $((6 * 7)), $TERM")
    window.expect(r"^it is 42, (screen|tmux|xterm)")
    window.line("stty size; tty")
    window.expect(r"^30 90$")
    window.expect(r"^/dev/pts/\d+$")
    window.line("exit 7")
    window.await_end(7)
    tools.daemon.await_connections(leased=0, idle=1)


def test_the_window_changes(tmux):
    window = tmux("-t", "t", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    window.expect("^ready$")
    window.resize(111, 33)
    window.expect("^33 111$")
    window.resize(70, 20)
    window.expect("^20 70$")
    window.type("C-c")
    window.await_end(255)  # ended by a signal


def test_ctrl_c_goes_to_the_far_side(tmux):
    window = tmux("t")
    window.line("echo begun $((1 + 1)); sleep 300")
    window.expect("^begun 2$")
    window.type("C-c")
    window.line("echo still $((40 + 2))")
    window.expect("^still 42$")
    window.type("C-d")
    window.expect(r"^ended with ")


def test_tilde_dot_ends_it(tmux, tools, sshd):
    window = tmux("t")
    window.line("echo here $((1 + 1))")
    window.expect("^here 2$")
    window.line("echo begun $((1 + 2)); sleep 300")
    window.expect("^begun 3$")
    window.type("Enter", "~", ".")
    window.await_end(255)
    tools.daemon.await_connections(leased=0, draining=0, closing=0)
    sshd.await_nothing_remote()


def test_tilde_question_mark_and_two_tildes(tmux):
    window = tmux("t")
    window.line("echo begun $((1 + 1)); cat")
    window.expect("^begun 2$")
    window.type("Enter", "~", "?")
    window.expect(r"~\.")
    window.type("Enter", "~", "~", "x", "Enter")
    window.expect(r"^~x$")
    window.type("C-d")
    window.line("exit")
    window.await_end(0)


def test_an_editor_s_screen(tmux):
    """Full screen, cursor keys, the alternate screen: what a terminal is for."""
    window = tmux("-t", "t", "printf '\\033[?1049h\\033[2J\\033[5;10Hhello\\033[6;1H'; read x; printf '\\033[?1049l'; "
                  "echo left $x")
    window.expect(r"^ {9}hello$")
    window.line("word")
    window.expect(r"^left word$")
    window.await_end(0)


def test_it_is_killed_with_its_terminal(tmux, tools, sshd):
    window = tmux("t")
    window.line("echo pid is $$")
    window.expect(r"^pid is \d+$")
    window.tmux("kill-server")
    tools.daemon.await_connections(leased=0, draining=0, closing=0)
    sshd.await_nothing_remote()
