# SPDX-License-Identifier: MIT
"""Logging in to the target "t", and being refused."""

import pytest

import native


def logs_in(daemon):
    client = daemon.leased()
    assert client.run("echo in").stdout == b"in\n"
    return client


def refusal(daemon, **options):
    with pytest.raises(native.Error) as e:
        daemon.client().acquire("t", **options)
    assert e.value.unsent and "t" in e.value.text and e.value.text.isprintable()
    return e.value
