# SPDX-License-Identifier: MIT
"""A lease of the same user and target that begins while the one before is still being reclaimed, at several servers: who
finishes last. They come from the zoo of tests/interop."""

import contextlib
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))

import zoo as zoo_module                         # noqa: E402
import servers as servers_module                 # noqa: E402
from lanes import Us                             # noqa: E402
from test_mux_interrupted import LATE, PROGRAMS  # noqa: E402

pytestmark = pytest.mark.full

# What sleeps sees nothing of a hang-up; nor does what writes at dropbear, which cannot be told that nobody reads. TERM comes
# to them after a second, and what their handlers write then is later than a quick successor, so theirs takes two seconds.
KINDS = {"reads": PROGRAMS["reads"], "writes": PROGRAMS["writes"], "sleeps": LATE + "echo begun; while :; do sleep 0.05; done"}


@pytest.fixture(scope="module")
def zoo(account):
    one = zoo_module.Zoo(account, True)
    yield one
    one.close()


@pytest.fixture(scope="module", params=["openssh", "dropbear", "asyncssh"])
def instance(request, zoo):
    server = next(s for s in servers_module.every() if s.name == request.param)
    if server.absent(zoo):
        pytest.skip(server.absent(zoo))
    server.install(zoo)
    with zoo.keys_at_home(server.name) if server.keys_at_home else contextlib.nullcontext():
        one = zoo_module.Instance(server, zoo)
        yield one
        one.stop()


@pytest.mark.parametrize("sharing", [1, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_successor_finishes_last(make_tools, instance, zoo, tmp_path, remote_dir, kind, sharing):
    os.chmod(remote_dir, 0o777)
    known = tmp_path / "known"
    known.write_text(instance.known_hosts_line())
    lane = Us(make_tools({"t": {"host": instance.host, "port": instance.port, "user": instance.server.user(zoo),
                                "sharing": sharing, "user_known_hosts_file": str(known),
                                "identity_file": zoo.keys.user["ed25519"]}}))
    with lane.start("ssh", "t", KINDS[kind].format(remote_dir)) as process:
        assert process.stdout.readline().strip() == b"begun"
        process.send_signal(signal.SIGKILL)
    slow = kind == "sleeps" or (kind == "writes" and instance.server.name == "dropbear")
    lane.good("ssh", "t", f"{'sleep 2; ' if slow else ''}echo good >{remote_dir}/file")
    lane.await_all_over()
    with open(f"{remote_dir}/file", encoding="ascii") as f:
        assert f.read() == "good\n"
