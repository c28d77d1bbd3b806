#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sums up test results: count.py PASSED FAILED REPORT=STATUS... -> "N passed, N failed, N skipped" on the last line.

PASSED and FAILED are steps counted by the caller. REPORT is a JUnit file of ctest or pytest, STATUS what that run's exit
status was: a run that failed without naming a failed test counts as one failure. A cmocka program among ctest's tests
counts by its own closing lines. Before the sum stand the names of what failed, with what it said, and of what was skipped.
"""

import re
import sys
import xml.etree.ElementTree

# Newer versions put the group's name before the number of failures.
CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED) ?\s*\] (?:\S+: )?(\d+) test\(s\)", re.MULTILINE)
CMOCKA_FINE = re.compile(r"\[( RUN   |       OK) *\]|\s*$")
SAID_LINES = 30


def counts_of(case):
    """(passed, failed, skipped) of one <testcase>."""
    failed = case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail"
    if not failed and (case.find("skipped") is not None or case.get("status") in ("notrun", "disabled")):
        return 0, 0, 1
    inner = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    for kind, number in CMOCKA.findall(case.findtext("system-out") or ""):
        inner[kind] += int(number)
    if failed:
        return inner["PASSED"], max(1, inner["FAILED"]), inner["SKIPPED"]
    if sum(inner.values()):
        return inner["PASSED"], 0, inner["SKIPPED"]
    return 1, 0, 0


def said(case):
    """What a failed <testcase> said that helps: the end of its failure, and of its output."""
    texts = [element.text or "" for kind in ("failure", "error", "system-out") for element in case.findall(kind)]
    lines = [line for text in texts for line in [x for x in text.splitlines() if not CMOCKA_FINE.match(x)][-SAID_LINES:]]
    return "".join(f"    | {line}\n" for line in lines)


def main(arguments):
    passed, failed, skipped = int(arguments[0]), int(arguments[1]), 0
    for argument in arguments[2:]:
        report, _, status = argument.rpartition("=")
        failed_before = failed
        try:
            cases = list(xml.etree.ElementTree.parse(report).getroot().iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError) as error:
            print(f"failed:  no results: {report}: {error}")
            failed += 1
            continue
        for case in cases:
            name = ".".join(dict.fromkeys(part for part in (case.get("classname"), case.get("name")) if part))
            good, bad, left_out = counts_of(case)
            passed, failed, skipped = passed + good, failed + bad, skipped + left_out
            if bad:
                print(f"failed:  {name}\n{said(case)}", end="")
            elif left_out:
                reason = case.find("skipped")
                reason = reason.get("message", "") if reason is not None else ""
                print(f"skipped: {name}  {reason}".rstrip())
        if status != "0" and failed == failed_before:
            print(f"failed:  {report}: the run ended with status {status} and names no failed test")
            failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")


if __name__ == "__main__":
    main(sys.argv[1:])
