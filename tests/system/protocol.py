# SPDX-License-Identifier: MIT
"""What proto/PROTOCOL.md says in tables, for whoever would have to write it again: messages and status codes."""

import pathlib
import re

TEXT = (pathlib.Path(__file__).resolve().parents[2] / "proto" / "PROTOCOL.md").read_text(encoding="utf-8")
PTY = [("term", "text"), ("cols", "u32"), ("rows", "u32"), ("width_px", "u32"), ("height_px", "u32"), ("modes", "data")]
_LISTS = {
    "bool pty, *only if pty:* [" + ", ".join(f"{kind} {name}" for name, kind in PTY) + "]": "pty pty",
    "u32 count, *count times:* [text name, text value]": "env env",
}


class Message:
    """`fields` are (name, kind) in the order of the wire. Kinds are those of the document, and `pty` and `env` for the two
    lists of STREAM_OPEN."""

    def __init__(self, number, name, sender, body):
        self.number, self.name, self.sender = int(number), name, sender
        version = re.match(r"\*v(\d+)\* ", body)
        self.since = int(version[1]) if version else 1
        self.fields = _fields(body[version.end():] if version else body)


def _fields(body):
    if body.startswith("as STREAM_OPEN, "):
        kind, name, instead = re.fullmatch(r"as STREAM_OPEN, but (\w+) (\w+) in place of the (\w+); .*", body).groups()
        return [(name, kind) if field == instead else (field, of) for field, of in MESSAGES["STREAM_OPEN"].fields]
    for text, field in _LISTS.items():
        body = body.replace(text, field)
    return [re.fullmatch(r"(\w+) (\w+)", field).group(2, 1) for field in re.sub(r" \([^)]*\)", "", body).split(", ")]


MESSAGES = {}
for _row in re.findall(r"^\| (\d+) \| ([A-Z_]+) \| (C|D|C D) \| (.*) \|$", TEXT, re.MULTILINE):
    MESSAGES[_row[1]] = Message(*_row)

# number: (name, text, whether the same request may succeed later by itself)
STATUSES = {int(number): (name, text, again == "yes") for number, name, text, again in
            re.findall(r"^\| (\d+) \| `([a-z-]+)` \| (.*) \| (yes|no) \|$", TEXT, re.MULTILINE)}
