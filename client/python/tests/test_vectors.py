# SPDX-License-Identifier: MIT
"""The protocol by its document's tables, and by example: the vectors that the C code is checked with, too."""

import json
import os

import pytest

import protocol
from sshlease import _wire as wire
from sshlease._errors import STATUS

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))

SPOKEN = (1, 3)  # the versions whose messages are here

VECTORS = []
for version in SPOKEN:
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


def test_status_codes_are_the_document_s():
    assert STATUS == protocol.STATUSES


def test_messages_are_the_document_s():
    kinds = {"u": "u32", "r": "u32", "q": "u64", "b": "bool", "t": "text", "d": "data", "pty": "pty", "env": "env"}

    def fields(spec):
        return [(name, kinds[kind]) for name, kind, *_ in (field.split(":") for field in spec.split())]
    assert {message.number: (name, message.since, message.fields)
            for name, message in protocol.MESSAGES.items() if message.since in SPOKEN} == {
        number: (name, wire.SINCE.get(number, 1), fields(spec)) for number, (name, spec) in wire._TABLE.items()}


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
