# SPDX-License-Identifier: MIT
"""What a row is, and what becomes of it."""

import dataclasses
import re

PRELUDE = r"""
await() { local i; for ((i = 0; i < ${TRIES:-1500}; i++)); do "$@" && return; sleep 0.02; done; echo "never: $*"; return 1; }
listens() { grep -q ":$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp; }
gone() { ! kill -0 "$1" 2>/dev/null; }
body() { sed '1,/^\r$/d' | sha256sum; }
"""


@dataclasses.dataclass
class Differs:
    """A difference that README.md tells of, in a line that has `sentence`. `status`, `output` (a pattern for all of it):
    what we are to do there; `better`: it is the better thing to do. `files`: whether the resulting files may differ, too."""
    sentence: str
    status: int = 0
    output: str = ""
    better: bool = False
    files: bool = False


@dataclasses.dataclass
class Row:
    """`script`: for bash, in $OUT. `setup`: run before it, in the same place, by plain ssh's side of things and untimed.
    `needs`: programs; `hosts`: those it uses. `status` and `output`, a pattern: what plain ssh is to do, or the row proves
    nothing. `standard`: the way that the others are compared with. `short`: also in the short form."""
    name: str
    script: str
    needs: tuple = ()
    hosts: tuple = ("t",)
    status: int = 0
    output: str = ""
    setup: str = ""
    differs: Differs | None = None
    standard: str = "ssh"
    short: bool = False
    root: bool = False
    timeout: float = 60.0
    group: str = ""


@dataclasses.dataclass
class Ran:
    """A row, run one way."""
    status: int | None  # None: no end in time
    output: bytes
    errors: bytes
    files: list
    seconds: float
    logins: int
    left: str | None = None

    def differences(self, other):
        """In what it differs from another, as words with both sides of it."""
        found = {}
        if self.status != other.status:
            found["status"] = f"status {self.told()} instead of {other.told()}"
        if self.output != other.output:
            found["output"] = f"output {shown(self.output)} instead of {shown(other.output)}"
        if self.files != other.files:
            ours, theirs = set(self.files) - set(other.files), set(other.files) - set(self.files)
            found["files"] = f"files {sorted(ours)[:3]} instead of {sorted(theirs)[:3]}"
        return found

    def told(self):
        return "none in time" if self.status is None else str(self.status)


def shown(output):
    text = output.decode(errors="replace")
    return repr(text if len(text) <= 160 else f"{text[:100]}…{text[-50:]}")


def judge(row, ran, readme):
    """`ran`: {way's name: Ran}. (verdict, why). The verdicts are those of run.py's docstring."""
    plain, master, ours = ran.get(row.standard), ran["master"], ran["sshlease"]
    if plain.status != row.status or not re.search(row.output.encode(), plain.output, re.DOTALL):
        return "broken", (f"{row.standard} is to end with {row.status} and {row.output!r}, but: status {plain.told()}, output "
                          f"{shown(plain.output)}, {plain.errors.decode(errors='replace')[-300:]}")
    if ours.left:
        return "worse", ours.left
    different = ours.differences(plain)
    if not different:
        theirs = master.differences(plain)
        return ("better", "a master: " + "; ".join(theirs.values())) if theirs else ("same", "")
    why = "; ".join(different.values())
    if row.differs and row.differs.sentence not in readme:
        return "worse", f"README.md does not say {row.differs.sentence!r}: {why}"
    if row.differs and as_told(row.differs, ours, different):
        return "better" if row.differs.better else "documented", why
    if not ours.differences(master):
        return "as master", why
    return "worse", why


def as_told(told, ours, different):
    return (ours.status == told.status and re.fullmatch(told.output.encode(), ours.output, re.DOTALL) is not None
            and (told.files or "files" not in different))
