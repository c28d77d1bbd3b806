#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""No blank line stands behind a function's opening declarations. Usage: blank_lines.py [--fix] FILE..."""

import re
import sys

TYPE = r"""(?:const |static |struct |enum |union |unsigned |signed |volatile |bool |char |int |long |short |float |double |void
    |size_t |ssize_t |off_t |pid_t |uid_t |gid_t |mode_t |socklen_t |time_t |va_list |json_t |FILE |DIR |nfds_t |dev_t |ino_t
    |u?int\d+_t |uintptr_t |uv_\w+_t |sl_\w+_fn |LIBSSH2_\w+ |EVP_\w+ |yaml_\w+_t |clock_t |cc_t |tcflag_t )"""
DECLARATION = re.compile("    " + re.sub(r"\n\s+", "", TYPE))
QUOTED = re.compile(r"""\"(\\.|[^"\\])*"|'(\\.|[^'\\])*'|/\*.*?\*/""")


def end_of_statement(lines, i):
    """The line behind the statement that begins at line i."""
    depth = 0
    while i < len(lines):
        text = QUOTED.sub("", lines[i])
        depth += sum(text.count(c) for c in "{([") - sum(text.count(c) for c in "})]")
        i += 1
        if depth <= 0 and text.rstrip().endswith(";"):
            break
    return i


def blank_behind(lines, i):
    """The blank line behind the declarations that open the body at line i, or None."""
    first = i
    while i < len(lines) and DECLARATION.match(lines[i]):
        i = end_of_statement(lines, i)
    return i if i > first and i < len(lines) and not lines[i].strip() else None


def look(path, fix):
    """The numbers of the lines that are too many."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    found, i = [], 0
    while i < len(lines):
        if lines[i] == "{":
            blank = blank_behind(lines, i + 1)
            while blank is not None:
                found.append(blank + 1)
                if not fix:
                    break
                del lines[blank]
                blank = blank_behind(lines, i + 1)
        i += 1
    if fix and found:
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines))
    return found


def main(arguments):
    fix = arguments[:1] == ["--fix"]
    status = 0
    for path in arguments[fix:]:
        for number in look(path, fix):
            if not fix:
                print(f"{path}:{number}: a blank line behind the opening declarations (scripts/lint --fix)")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
