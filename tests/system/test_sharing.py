# SPDX-License-Identifier: MIT
"""`sharing: N`: several leases of one owner on one connection, each ended for itself."""

import pytest

import native
import procs
from daemon import read_line
from holders import LEAVE
from waiting import until

FAST = {"kill_grace": "300ms"}


@pytest.fixture
def shared(make_daemon, sshd, target):
    """A daemon whose target `t` shares connections among up to four leases."""
    return make_daemon({"targets": {"t": target(sshd, sharing=4, **FAST)}})


def leases(daemon):
    return daemon.status()["leases"]


def test_two_leases_ride_one_connection(shared, sshd):
    before = len(sshd.log.matches("Accepted publickey"))
    first, second = shared.leased(), shared.leased()
    assert first.run("echo one").stdout == b"one\n"
    running = second.exec("echo begun; read -r word; echo $word").await_opened()
    running.await_output("begun\n")
    assert first.run("echo $SSH_CONNECTION").stdout == second.run("echo $SSH_CONNECTION").stdout != b""
    assert shared.connections()["leased"] == 1 and len(leases(shared)) == 2
    assert sorted(lease["streams"] for lease in leases(shared)) == [0, 1]
    first.release()
    assert shared.connections()["leased"] == 1, "the other one has it"
    running.write(b"done\n")
    assert running.await_end().how == native.STATUS and running.stdout.endswith(b"done\n")
    second.release()
    shared.await_connections(idle=1, leased=0)
    assert len(sshd.log.matches("Accepted publickey")) == before + 1


def test_without_it_no_two_leases_share(make_daemon, sshd, target):
    daemon = make_daemon({"targets": {"t": target(sshd, max_connections=2)}})
    first, second = daemon.leased(), daemon.leased()
    assert daemon.connections()["leased"] == 2
    assert first.run("echo $SSH_CONNECTION").stdout != second.run("echo $SSH_CONNECTION").stdout


@pytest.mark.parametrize("command", ["echo $$; exec sleep 300", LEAVE + "exec sleep 300"], ids=["plain", "setsid nohup"])
def test_a_killed_client_ends_its_own_processes_only(shared, hold, sshd, command):
    survivor, idler = shared.leased(), shared.leased()
    running = survivor.exec("echo begun; read -r word; echo $word").await_opened()
    running.await_output("begun\n")
    kept = procs.Watch(int(idler.run(LEAVE).stdout))  # nobody's who is reclaimed
    killed = hold(shared, "t", command)
    assert killed.line() == "asked" and killed.line() == "granted"
    watch = procs.Watch(int(killed.line()))
    assert shared.connections()["leased"] == 1 and len(leases(shared)) == 3
    mark = shared.log.mark()
    killed.kill()
    watch.await_gone()
    shared.log.find(r"reclaim .*reason=client-gone.* remaining=0 sweep=done", after=mark)
    assert not kept.gone(), "another lease's"

    # The others go on where they are; who comes gets another connection.
    fresh = shared.leased()
    assert fresh.run("echo $SSH_CONNECTION").stdout != survivor.run("echo $SSH_CONNECTION").stdout
    running.write(b"undisturbed\n")
    assert running.await_end().how == native.STATUS and running.stdout == b"begun\nundisturbed\n"
    idler.release()
    assert shared.connections()["leased"] == 2
    assert survivor.run("echo still here").stdout == b"still here\n"
    survivor.release()
    shared.await_connections(leased=1, draining=0, closing=0, idle=0)
    assert not kept.gone(), "a clean release ends nothing"
    kept.kill()


def test_more_leases_than_the_server_opens_sessions_spill_over(make_daemon, make_sshd, target):
    server = make_sshd("MaxSessions 2")
    daemon = make_daemon({"targets": {"t": target(server, sharing=4, **FAST)}})
    clients = [daemon.client() for _ in range(8)]
    for client in clients:
        client.acquire("t")
    assert daemon.connections()["leased"] == 2, "nothing is known of the limit yet"
    streams = [client.exec("echo begun; read -r word; echo $word") for client in clients]
    for stream in streams:
        stream.await_opened()
        stream.await_output("begun\n")
    assert daemon.connections()["leased"] == 4
    for number, (client, stream) in enumerate(zip(clients, streams)):
        stream.write(f"{number}\n".encode())
        assert stream.await_end().how == native.STATUS
        assert stream.stdout == f"begun\n{number}\n".encode()
        client.release()
    daemon.await_connections(leased=0, draining=0)
    assert not daemon.log.matches("status=stream-")


def test_what_spills_over_waits_its_turn_where_nothing_else_can_be_had(make_daemon, make_sshd, target):
    server = make_sshd("MaxSessions 1")
    daemon = make_daemon({"targets": {"t": target(server, sharing=3, max_connections=1, **FAST)}})
    clients = [daemon.leased() for _ in range(3)]
    first = clients[0].exec("echo begun; read -r word").await_opened()
    first.await_output("begun\n")
    waiting = [client.exec("cat") for client in clients[1:]]
    until(lambda: daemon.target()["waiters"] == 2, "both to be moving", interval=0.02)
    assert sorted(lease["state"] for lease in leases(daemon)) == ["granted"] * 3
    clients[0].close()  # in the middle of its command: the connection goes, too
    for client, stream in zip(clients[1:], waiting):
        stream.await_opened()
        stream.write(b"served\n")
        stream.write_eof()
        assert stream.await_end().how == native.STATUS and stream.stdout == b"served\n"
        client.release()


@pytest.mark.root
def test_owners_do_not_share(make_daemon, sshd, target, account, reachable):
    daemon = make_daemon({"targets": {"t": target(sshd, sharing=4, allow={"users": [account.pw_name]})}})
    root, again = daemon.leased(), daemon.leased()
    other = daemon.cli_start("exec", "t", "--", "echo $SSH_CONNECTION; read -r word", user=account)
    theirs = read_line(other.stdout)
    assert root.run("echo $SSH_CONNECTION").stdout == again.run("echo $SSH_CONNECTION").stdout != theirs.encode()
    assert daemon.connections()["leased"] == 2 and len(leases(daemon)) == 3
    other.communicate(b"\n")
