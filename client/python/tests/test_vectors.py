# SPDX-License-Identifier: MIT
"""The protocol by example: the vectors that the C code is checked with, too."""

import json
import os

import pytest

from sshlease import _wire as wire

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))

VECTORS = []
for version in (1, 3):
    with open(os.path.join(ROOT, "tests", "vectors", f"native-v{version}.json"), encoding="utf-8") as f:
        VECTORS += json.load(f)
VALID = [v for v in VECTORS if "error" not in v]
INVALID = [v for v in VECTORS if "error" in v]


def expected(vector):
    """The vector's fields as the decoder gives them, in the order of the wire."""
    def plain(name, fields):
        value = fields[name] if name in fields else bytes.fromhex(fields[f"{name}_hex"])
        if name == "pty" and value is not None:
            return wire.Pty(*(plain(field, value) for field in wire.Pty._fields))
        if name == "env":
            return [tuple(pair) for pair in value]
        if name == "lease":
            return int(value)
        return value.encode() if name == "json" else value
    return tuple(plain(name, vector["fields"]) for name in wire.FIELDS[vector["number"]])


def decode(data):
    found = wire.next_frame(data, 0, len(data))
    if found is None:
        return None
    number, end = found
    assert end == len(data)
    return number, wire.decode_body(number, data, 8, end)


def test_there_are_vectors_for_every_message():
    assert {v["number"] for v in VALID} == set(wire.NAMES)
    assert all(wire.NAMES[v["number"]] == v["type"] for v in VALID)
    assert len(INVALID) > 100


@pytest.mark.parametrize("vector", VALID, ids=lambda v: v["name"])
def test_valid(vector):
    data = bytes.fromhex(vector["frame_hex"])
    assert decode(data) == (vector["number"], expected(vector))
    if not vector.get("decode_only"):
        assert wire.encode(vector["number"], *expected(vector)) == data


@pytest.mark.parametrize("vector", INVALID, ids=lambda v: v["name"])
def test_invalid(vector):
    data = bytes.fromhex(vector["frame_hex"])
    if vector["error"] == "incomplete":
        assert decode(data) is None
        return
    assert vector["error"] == "protocol"
    with pytest.raises(wire.Violation):
        decode(data)
