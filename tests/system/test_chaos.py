# SPDX-License-Identifier: MIT
"""Everything goes wrong at once; tests/fault/chaos.py says what, and what has to hold all the same. --full makes it long."""

import pytest

import chaos


@pytest.mark.root  # the daemon hides its descriptors from its own user
@pytest.mark.parametrize("seed", [1])
def test_nothing_is_left_behind(keys, account, full, seed):
    problems = chaos.Chaos(600 if full else 12, seed, keys, account).run()
    assert not problems, "\n".join(problems)
