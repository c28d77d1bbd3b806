# SPDX-License-Identifier: MIT
"""`sshlease status` for a person: what is shown on a terminal, however narrow, and what is left out when asked."""

import re

import pytest

from daemon import program, read_line
from logins import refusal
from sshd import free_port
from terminal import Terminal

LONG = "build-host-of-the-integration-tests"  # 40 characters with its number
NIGHT = f"{LONG}-0001"
DOWN = f"{LONG}-0002"
LABEL = "tests/integration/test_reports.py::test_that_a_report_is_written_over_night[gw3-utf8]"


@pytest.fixture
def busy(make_daemon, sshd, target):
    """A target with a lease, one that is down, and many of which nobody wants anything."""
    port = free_port()
    names = {NIGHT: target(sshd), "t": {**target(sshd), "host": "127.0.0.1", "port": port}}
    names[DOWN] = names["t"]
    names.update({f"idle-{i}": target(sshd) for i in range(20)})
    daemon = make_daemon({"targets": names})
    refusal(daemon)
    daemon.cli("exec", "--acquire-timeout", "100ms", DOWN, "--", "true")
    holder = daemon.cli_start("exec", "--label", LABEL, NIGHT, "--", "echo held; cat")
    assert read_line(holder.stdout) == "held\n"
    daemon.holder, daemon.closed_port = holder, port
    yield daemon
    holder.communicate(timeout=30)


def shown(daemon, *words, cols=80, term="dumb"):
    terminal = Terminal([program("sshlease"), "status", *words], {**daemon.cli_env(), "TERM": term}, cols=cols)
    try:
        assert terminal.wait() == 0, terminal.output
        return terminal.output.decode().replace("\r\n", "\n")
    finally:
        terminal.close()


def lines_without_times(text):
    """And without what depends on them: a wait for the next try that is over, the width of a column."""
    return [words_of(line) for line in re.sub(r"\b\d[0-9hms]*s\b|; next try in \S+", "", text).splitlines()]


def words_of(text):
    return " ".join(text.split())


@pytest.mark.parametrize("cols", [80, 64])
def test_nothing_that_matters_is_hidden(busy, cols):
    """Names lose their middle, a command its end; an error, a label and a holder lose nothing."""
    text = shown(busy, cols=cols)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= cols, text
    assert LABEL in text.replace("\n", "").replace(" ", "")
    assert words_of(f"last error: 127.0.0.1:{busy.closed_port}: connection refused") in words_of(text).lower()
    (row,) = [line for line in lines if "granted" in line]
    assert str(busy.holder.pid) in row.split() and re.search(r"build\S*…\S*1 ", row), row
    assert re.search(r"command: .*sshlease exec .*…$", text, re.MULTILINE), text
    assert "…" not in "".join(line for line in lines if "last error" in line)


def test_it_is_coloured_as_it_was(busy):
    assert "\x1b[31m127.0.0.1" in shown(busy, term="xterm")


def test_wide_shows_each_on_a_line(busy):
    text = shown(busy, "--wide")
    assert "…" not in text and lines_without_times(text) == lines_without_times(shown(busy, cols=400))
    (row,) = [line for line in text.splitlines() if "granted" in line]
    assert NIGHT in row and LABEL in row and row.endswith(f"sshlease exec --label {LABEL} {NIGHT} -- echo held; cat"), row


def test_a_terminal_wide_enough_and_a_pipe_show_the_same(busy):
    assert lines_without_times(shown(busy, cols=400)) == lines_without_times(busy.cli("status").stdout.decode())


def test_idle_targets_are_left_out_when_asked(busy):
    text = busy.cli("status", "--active").stdout.decode()
    assert "idle-" not in text and NIGHT in text and "\nt " in text
    assert "\n20 more targets without a connection\n" in text
    assert busy.cli("status", "-a", "idle-1").stdout.decode().splitlines()[2:] == [
        "1 target without a connection", "", "no leases"]


def test_only_what_is_asked_for(busy):
    text = busy.cli("status", "t", "idle-3").stdout.decode()
    rows = [line.split()[0] for line in text.splitlines()[3:] if line]
    assert rows == ["idle-3", "t", "no"], text
    assert LABEL in busy.cli("status", NIGHT).stdout.decode()
    done = busy.cli("status", "t", "nowhere")
    assert done.returncode == 1 and done.stdout == b"" and b"no target nowhere" in done.stderr
    assert busy.cli("status", "--json", "t").returncode == 2
    assert busy.cli("status", "--json", "--active").returncode == 2


def test_what_ends_a_wait_is_said(make_daemon, make_sshd, target):
    daemon = make_daemon({"targets": {"t": target(make_sshd(), known="")}})
    refusal(daemon)
    text = words_of(shown(daemon))
    assert "tried again when known_hosts says something else, or after: sshlease reconnect t no leases" in text
