# SPDX-License-Identifier: MIT
"""Tests that run on other machines. `web1` and `db1` are targets of the daemon's configuration; with a daemon of your own
(`sshleased --user`) write you@host instead.
"""

import pytest
import sshlease


# The fixture gives out leases. Close them, or do not: when the test is over they are.

def test_kernel(ssh_lease):
    web = ssh_lease()  # sshlease_target of pytest.ini
    assert web.output("uname -s") == "Linux\n"


@pytest.mark.sshlease("db1")
def test_another_machine(ssh_lease):
    with ssh_lease() as db:
        assert db.run("exit 3").returncode == 3


def test_two_at_once(ssh_lease):
    web, db = ssh_lease("web1"), ssh_lease("db1")
    assert web.output("echo from web") + db.output("echo from db") == "from web\nfrom db\n"


# A fixture of one's own is a `with`.

@pytest.fixture
def scratch(ssh_lease):
    web = ssh_lease()
    path = web.output("mktemp -d").strip()
    yield path
    web.run(["rm", "-rf", path], check=True)


def test_files(ssh_lease, scratch):
    web = ssh_lease()
    web.run(["tee", f"{scratch}/it"], input="hello\n", check=True)
    assert web.output(["cat", f"{scratch}/it"]) == "hello\n"


# Something that runs while the test looks on. Even if the test is killed here, the remote command is ended.

def test_streaming(ssh_lease):
    with ssh_lease().popen("echo ready; exec sleep 1000", encoding="utf-8") as log:
        assert log.stdout.readline() == "ready\n"
        log.terminate()
    assert log.signal == "TERM"


# One lease for all tests of a worker, for what is read only.

@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/group", "/etc/hosts"])
def test_readable(ssh_session_lease, path):
    assert ssh_session_lease("web1").run(["test", "-r", path]).succeeded


# What goes wrong has a type and a reason.

def test_errors(ssh_lease):
    web = ssh_lease()
    with pytest.raises(sshlease.CommandFailed, match="exited with 1"):
        web.run("false", check=True)
    with pytest.raises(sshlease.CommandTimeout):
        web.run("sleep 1000", timeout=0.2)
    with pytest.raises(sshlease.Refused, match="nowhere"):
        ssh_lease("nowhere")
