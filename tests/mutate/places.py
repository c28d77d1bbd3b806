# SPDX-License-Identifier: MIT
"""Where C source can be changed, and into what. Text only: the compiler decides what is a mutant."""

import hashlib
import re
from dataclasses import dataclass, replace

ROOMS = ("daemon", "client", "proto", "config", "base")


@dataclass(frozen=True)
class Place:
    file: str
    begin: int  # offsets into the file's text
    end: int
    kind: str
    new: str
    nth: int = 1  # of those in the file that look the same

    def line(self, text):
        return text.count("\n", 0, self.begin) + 1

    def key(self, text):
        """What it is called from run to run, wherever its line is by then."""
        return f"{self.file}: {self.kind}: {self.new}: {self.nth}: {text.splitlines()[self.line(text) - 1].strip()}"

    def apply(self, text):
        # As many lines as before: those after it keep their numbers.
        lost = text.count("\n", self.begin, self.end) - self.new.count("\n")
        return text[:self.begin] + self.new + "\n" * lost + text[self.end:]


def room_of(file):
    return file.rpartition("/")[0]


def masked(text):
    """The text with every comment, string, character and preprocessor line blank, at the same offsets."""
    hidden = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|/\*.*?\*/|[^\n])*'
    return re.sub(hidden, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S | re.M)


def closing(code, at):
    """Where the parenthesis at `at` is closed."""
    depth = 0
    for i in range(at, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth == 0:
            return i
    return None


def conditions(code, text):
    for m in re.finditer(r"\b(?:if|while) (?=\()", code):
        end = closing(code, m.end())
        if end is not None:
            yield m.end(), end + 1, f"(!{text[m.end():end + 1]})"


def swaps(pairs):
    def find(code, _):
        for m in re.finditer(r"(?<= )(?:" + "|".join(map(re.escape, pairs)) + r")(?=\s)", code):
            yield m.start(), m.end(), pairs[m[0]]
    return find


def constants(code, text):
    for m in re.finditer(r"(?<![\w.\"])(0x[0-9a-fA-F]+|\d+)([uUlL]*)\b(?!\.)", code):
        octal = len(m[1]) > 1 and m[1].isdigit() and m[1][0] == "0"
        yield m.start(), m.end(), f"0{int(m[1], 8) ^ 4:o}" if octal else f"{int(m[1], 0) + 1}{m[2]}"
    for m in re.finditer(r"^#define \w+\s+(\d+)([uUlL]*)(?=\s|$)", text, re.M):
        yield m.start(1), m.end(2), f"{max(int(m[1]) // 2, 0) if int(m[1]) > 1 else 1 - int(m[1])}{m[2]}"


def calls(code, _):
    """A statement that is a call and nothing else."""
    for m in re.finditer(r"(?<=[;{})])\n[ \t]+((?:\(void\))?[a-z]\w*(?:->\w+)?)(?=\()", code):
        end = closing(code, m.end())
        keyword = re.match(r"(?:if|for|while|switch|return|sizeof|assert)\b", m[1])
        if end is not None and not keyword and code[end + 1:end + 2] == ";":
            yield m.start(1), end + 1, "(void)0"


def returns(code, text):
    other = {"true": "false", "false": "true", "0": "-1", "-1": "0", "NULL": None}
    for m in re.finditer(r"\breturn ([^;{}]+);", code):
        new = other.get(text[m.start(1):m.end(1)].strip(), "0")
        if new is not None:
            yield m.start(1), m.end(1), new


KINDS = {
    "condition negated": conditions,
    "bound moved": swaps({"<": "<=", "<=": "<", ">": ">=", ">=": ">"}),
    "equality turned": swaps({"==": "!=", "!=": "=="}),
    "and for or": swaps({"&&": "||", "||": "&&"}),
    "call dropped": calls,
    "constant changed": constants,
    "other value returned": returns,
}


def places(file, text):
    code, seen, found = masked(text), {}, []
    for kind, find in KINDS.items():
        for begin, end, new in find(code, text):
            place = Place(file, begin, end, kind, new)
            if text[begin:end] != new:
                key = place.key(text)
                seen[key] = seen.get(key, 0) + 1
                found.append(replace(place, nth=seen[key]))
    return found


def endless(texts, seed, room):
    """Every place of a room in an order of the seed's; each kind of change as often as any other while there is one.
    The order goes by what stands in the line, not by where it stands: an edit elsewhere leaves the choice as it is."""
    def rank(word):
        return hashlib.sha256(f"{seed} {room} {word}".encode()).digest()

    kinds = {kind: [] for kind in KINDS}
    for file, text in sorted(texts.items()):
        for place in places(file, text) if room_of(file) == room else ():
            kinds[place.kind].append((rank(place.key(text)), place.begin, place))
    for some in kinds.values():
        some.sort(key=lambda one: one[:2], reverse=True)
    turn = 0
    while any(kinds.values()):
        for kind in sorted((kind for kind in kinds if kinds[kind]), key=lambda kind, turn=turn: rank(f"{kind} {turn}")):
            yield kinds[kind].pop()[2]
        turn += 1
