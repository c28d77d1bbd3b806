# SPDX-License-Identifier: MIT
"""What a session of device.py can run: a real shell, a device's command line, something like cmd.exe."""

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

MASTERS = {}  # channel -> the terminal's descriptor


class Session:
    """`channel` is read from, `out` is written to: the same but on servers that mix them up."""

    def __init__(self, channel, out, terminal, variables):
        self.channel, self.out = channel, out
        self.terminal, self.variables = terminal, variables
        self.status_first = False


def resize(channel, rows, columns):
    if channel not in MASTERS:
        return False
    fcntl.ioctl(MASTERS[channel], termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return True


def _pump(read, write):
    """Until either end is closed."""
    try:
        while data := read():
            write(data)
    except OSError:
        pass


def _read_of(fd):
    def read():
        try:
            return os.read(fd, 32768)
        except OSError:  # EIO: the terminal is closed
            return b""
    return read


def _write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def shell(session, command):
    """Runs `command`, or a login shell where it is None; answers the exit status."""
    words = ["/bin/sh", "-c", command] if command is not None else ["/bin/sh", "-i"]
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **session.variables}
    if session.terminal:
        return _on_terminal(session, words, env)
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                             start_new_session=True)
    outputs = [threading.Thread(target=_pump, args=(_read_of(pipe.fileno()), write), daemon=True)
               for pipe, write in ((child.stdout, session.out.sendall), (child.stderr, session.out.sendall_stderr))]
    if session.status_first:
        # The status when the command's first output is there: a late reader must not take it for the end.
        session.out.send_exit_status(int((re.search(r"exit (\d+)", command or "") or [0, 0])[1]))
    for thread in outputs:
        thread.start()
    threading.Thread(target=_feed, args=(session.channel, child), daemon=True).start()
    _await_end(session, child, outputs)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _feed(channel, child):
    fd = child.stdin.fileno()
    _pump(lambda: channel.recv(32768), lambda data: _write_all(fd, data))
    child.stdin.close()
    # A child that does not read must not hold up the window.
    _pump(lambda: channel.recv(32768), lambda data: None)


def _await_end(session, child, outputs):
    """Until the output has ended, or the client has gone: then the command is hung up on."""
    while any(thread.is_alive() for thread in outputs):
        for thread in outputs:
            thread.join(0.02)
        if session.channel.closed or not session.channel.transport.is_active():
            hang_up(child)
            return
    child.wait()


def hang_up(child):
    try:
        os.killpg(child.pid, signal.SIGHUP)
    except (ProcessLookupError, PermissionError):
        pass
    child.wait()


def _on_terminal(session, words, env):
    kind, rows, columns = session.terminal
    ours, theirs = os.openpty()
    MASTERS[session.channel] = ours
    try:
        resize(session.channel, rows, columns)
        child = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env={**env, "TERM": kind},
                                 start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        output = threading.Thread(target=_pump, args=(_read_of(ours), session.out.sendall), daemon=True)
        output.start()
        threading.Thread(target=_pump, args=(lambda: session.channel.recv(4096), lambda d: _write_all(ours, d)),
                         daemon=True).start()
        _await_end(session, child, [output])
        return child.returncode if child.returncode >= 0 else 128 - child.returncode
    finally:
        del MASTERS[session.channel]
        os.close(ours)


def _await_client_gone(session, seconds):
    """A command that goes on until then, or until the client goes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not session.channel.closed and session.channel.transport.is_active():
        time.sleep(0.02)


def command_line(session, command):
    """A switch's: `show WORD [STATUS]`, `wait SECONDS`; its errors are on standard output."""
    words = command.split()
    if words[:1] == ["show"] and len(words) > 1:
        session.out.sendall(f"{words[1]}\n".encode())
        return int(words[2]) if len(words) > 2 and words[2].isdigit() else 0
    if words[:1] == ["wait"] and len(words) > 1:
        session.out.sendall(b"waiting\n")
        _await_client_gone(session, float(words[1]))
        return 0
    session.out.sendall(f"% Invalid input: {words[:1]}\r\n".encode())
    return 1


def windows(session, command):
    """`echo`, `exit`, `timeout`, joined by &; a first word that it does not know makes the whole line an error."""
    status = 0
    for part in re.split(r"(?<!>)&", command):
        word, _, rest = part.strip().partition(" ")
        if word == "echo":
            text, to_stderr, _ = rest.partition("1>&2")
            send = session.out.sendall_stderr if to_stderr else session.out.sendall
            send(f"{text.strip()}\r\n".encode())
        elif word == "exit":
            return int(rest or 0)
        elif word == "timeout":
            session.out.sendall(b"waiting\r\n")
            _await_client_gone(session, float(rest))
        else:
            session.out.sendall_stderr(f"'{word}' is not recognized as an internal or external command,\r\n"
                                       "operable program or batch file.\r\n".encode())
            return 1
    return status


def prompt(session, _):
    """An interactive command line: `show WORD`, `exit [STATUS]`."""
    line, status = b"", None
    session.out.sendall(b"switch> ")
    while status is None:
        try:
            data = session.channel.recv(1024)
        except socket.timeout:
            continue
        if not data:
            return 0
        for byte in data:
            if byte not in b"\r\n":
                line += bytes([byte])
                continue
            words, line = line.decode(errors="replace").split(), b""
            if words[:1] == ["exit"]:
                status = int(words[1]) if len(words) > 1 else 0
                break
            answer = words[1] if words[:1] == ["show"] and len(words) > 1 else "% Invalid input" if words else ""
            session.out.sendall(f"\r\n{answer}\r\nswitch> ".encode())
    return status
