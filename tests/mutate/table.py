# SPDX-License-Identifier: MIT
"""The result, for the eye and as a document: counts by room, and what survived."""

import collections

COLUMNS = ("units", "system", "accepted", "survived", "unclear")


def accepted(file):
    """{(file, changed lines): reason} of `accepted`: blocks of a file's name, the lines with - and +, and the reason."""
    known = {}
    with open(file, encoding="utf-8") as f:
        for block in f.read().split("\n\n"):
            lines = [line for line in block.strip().split("\n") if not line.startswith("#")]
            if len(lines) > 2:
                change = tuple(line for line in lines[1:] if line[0] in "-+")
                known[lines[0], change] = " ".join(line.strip() for line in lines[1 + len(change):])
    return known


def change_of(result):
    return tuple(f"{line[0]} {line[1:].strip()}" for line in result["diff"] if line[1:].strip())


def judged(results, known):
    """The results, those that survived and may apart from those that survived and should not."""
    for r in results:
        reason = known.get((r["file"], change_of(r)))
        yield {**r, "outcome": "accepted", "reason": reason} if reason and r["outcome"] == "survived" else r


def counts(results):
    count = collections.Counter((r["room"], r["outcome"]) for r in results)
    count.update(("all", r["outcome"]) for r in results)
    rows = [[room, *(str(count[room, c]) for c in COLUMNS)] for room in [*sorted({r["room"] for r in results}), "all"]]
    return [["room", *COLUMNS], *rows]


def plain(results):
    lines = ["".join(f"{cell:24}" if i == 0 else f"{cell:>10}" for i, cell in enumerate(row)) for row in counts(results)]
    for r in results:
        if r["outcome"] in ("survived", "unclear"):
            lines += ["", f"{r['outcome']}: {r['file']}:{r['line']}: {r['kind']} (asked: {r['asked']})", *change_of(r)]
    return "\n".join(lines)


def markdown(results, seed, commit, same):
    head, *rows = counts(results)
    lines = ["# What the tests notice", "",
             f"`tests/mutate/run --seed {seed} --count {len(results)} --ask room`, of {commit}. Its `--table` writes this.", "",
             f"{same} other places came to the same object code, or did not compile.",
             "What survived and may has its reason in `accepted`; anything else that survives is a test that is missing.", "",
             "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    for r in results:
        if r["outcome"] in ("survived", "unclear"):
            lines += ["", f"{r['outcome']}: `{r['file']}`, {r['kind']}", "```diff", *change_of(r), "```"]
    return "\n".join(lines) + "\n"
