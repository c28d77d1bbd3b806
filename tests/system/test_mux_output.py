# SPDX-License-Identifier: MIT
"""Output whose reader goes away: a script goes on and its status counts, as with ssh itself, over the mux sockets and with
`sshlease exec`."""

import os
import shlex
import subprocess

import pytest

import daemon as daemon_module
from ssh_tools import plain_words


@pytest.fixture(params=["plain", "mux", "exec", "exec-frames"])
def through(request, tools, sshd, keys, tmp_path):
    """through(command, reader): the status of `ssh HOST COMMAND </dev/null | READER`, and what came on standard error."""
    cli = [daemon_module.program("sshlease"), "exec", "--socket", tools.daemon.path, "t", "--"]
    words = {"plain": plain_words(sshd, keys, tmp_path, "t"), "mux": tools.words("ssh", "t")}.get(request.param, cli)
    # Where errors go to a terminal nothing is passed to the daemon: output is carried by frames.
    err, theirs = os.openpty() if request.param == "exec-frames" else os.pipe()

    def run(command, reader):
        script = f"{shlex.join([*words, command])} </dev/null | {reader}; echo ${{PIPESTATUS[0]}} >status"
        subprocess.run(["bash", "-c", script], env=tools.env(), stdout=subprocess.DEVNULL, stderr=theirs, check=True,
                       timeout=60, cwd=tmp_path)
        os.write(theirs, b"END")
        said = b""
        while not said.endswith(b"END"):
            said += os.read(err, 4096)
        return int((tmp_path / "status").read_text()), said[:-3].replace(b"\r\n", b"\n")
    run.way = request.param
    yield run
    os.close(err)
    os.close(theirs)


def test_the_rest_of_a_script_runs(through, remote_dir):
    done = f"{remote_dir}/done"
    assert through(f"seq 1 1000000; touch {done}", "grep -q 5") == (0, b"")
    assert os.path.exists(done)
    os.remove(done)
    assert through(f"yes | head -c 3000000; sleep 1; echo done >{done}", "head -1") == (0, b"")
    assert os.path.exists(done)


def test_its_status_and_its_errors_arrive(through):
    status, err = through("yes | head -c 20000000; echo after >&2; exit 7", "head -1")
    assert status == 7
    assert through.way == "plain" or err == b"after\n"  # ssh itself loses it


@pytest.mark.skipif(not daemon_module.libssh2_is_ours(), reason="the system's libssh2 cannot tell the server")
def test_a_writer_without_an_end_is_ended_and_its_script_goes_on(through, remote_dir, full):
    if not full and through.way.startswith("exec"):
        pytest.skip("the others have the same relay; --full")
    if through.way == "exec-frames":
        pytest.skip("there sshlease itself dies of the first write that nobody reads")
    status, _ = through(f"yes; echo done >{remote_dir}/done; exit 7", "head -1")
    assert status == 7
    assert os.path.exists(f"{remote_dir}/done")


def test_a_writer_without_an_end_is_ended(through, sshd, full):
    if not full and through.way == "mux":
        pytest.skip("the test before is of the same relay; --full")
    status, _ = through("yes", "head -1")
    # A program that is run here dies of the signal, as one does whose output nobody reads.
    assert status == (141 if through.way.startswith("exec") else 255)
    sshd.await_nothing_remote()


def test_a_slow_writer_without_an_end_is_ended(through, sshd, full):
    if not full and through.way != "mux":
        pytest.skip("the others have the same relay; --full")
    status, _ = through("exec sh -c 'while sleep 1; do echo x || exit 9; done'", "head -1")
    assert status == (141 if through.way.startswith("exec") else 255)
    sshd.await_nothing_remote()
