#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs sshlease against the servers of the zoo and prints what is well: one row for each server, one column for each test.

    ok       as it should be
    as ssh   plain ssh, run on the same thing, has the same trouble
    n/a      makes no sense there; the JSON says why
    DEFECT   plain ssh is better, or a promise of sshlease's own is broken
    absent   the server is not to be had on this machine

Exit status: 0 without a DEFECT or an absent server, 1 with one.
"""

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import zoo as zoo_module              # noqa: E402  first: it knows where the modules of the system tests are
import account as account_module      # noqa: E402
import daemon as daemon_module        # noqa: E402
import servers as servers_module      # noqa: E402
from cells import OURS, SHORT, TESTS, wrong  # noqa: E402
from ways import Bed, Broken          # noqa: E402

CELL_SECONDS = 150
SHORT_CELL_SECONDS = 40
RESULTS = ("ok", "as ssh", "n/a", "DEFECT", "absent")


class TimeUp(Exception):
    pass


def on_alarm(*_):
    raise TimeUp


def on_term(*_):
    raise SystemExit(1)


def attempt(zoo, server, instance, test, plain):
    """Runs one test: None, or what is wrong. Also the end of the daemon's log."""
    log = []
    signal.alarm(SHORT_CELL_SECONDS if zoo.short else CELL_SECONDS)
    try:
        with Bed(zoo, server, instance, plain) as bed:
            try:
                TESTS[test](bed)
            finally:
                signal.alarm(0)
                crash = bed.crash()
                log = bed.log()
                if crash:
                    raise Broken("daemon", crash)
    except Broken as e:
        return e, log
    except TimeUp:
        return Broken("slow", "no end of the test in time"), log
    except zoo_module.Absent as e:
        return Broken("server", str(e)), log
    except (OSError, AssertionError, ValueError, subprocess.SubprocessError) as e:
        return Broken(type(e).__name__, str(e)[-500:]), log
    finally:
        signal.alarm(0)
    return None, log


def run_cell(zoo, server, instance, test):
    """One cell, as the JSON has it."""
    since = time.monotonic()
    ours, log = attempt(zoo, server, instance, test, plain=False)
    seconds = round(time.monotonic() - since, 1)
    if ours is None:
        return {"result": "ok", "seconds": seconds}
    found = {"result": "DEFECT", "detail": ours.detail, "kind": ours.kind, "seconds": seconds, "log": log,
             "server_log": instance.log.lines[-15:]}
    # What sshlease promises beyond ssh is no matter of comparison.
    if test in OURS or ours.kind in ("held", "daemon") or (ours.kind == "left" and server.findable):
        return found
    theirs, _ = attempt(zoo, server, instance, test, plain=True)
    if theirs is None:
        found["ssh"] = "ok"
    else:
        found["ssh"] = f"{theirs.kind}: {theirs.detail}"
        if theirs.kind == ours.kind and theirs.share >= ours.share / 2:
            found["result"] = "as ssh"
    return found


def tests_of(zoo, server, tests):
    """Those for a server. Some are only for servers that ask for them."""
    if server.only:
        return [test for test in tests if test in server.only]
    left_out = {"refusal", "logins"}
    if zoo.short:
        left_out.update(test for test in tests if test not in SHORT)
    if zoo.short and not server.findable:
        left_out.add("killed-detached")  # plain ssh has the same trouble, and it takes 16 s to see it
    if zoo.short and server.in_short is not None:
        left_out.update(test for test in tests if test not in server.in_short)
    return [test for test in tests if test not in left_out]


def serve_one(zoo, server, tests, say):
    """In a process of its own: all cells of a server, each told as soon as it is known."""
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, on_term)
    try:
        reason = server.absent(zoo)
        if reason:
            for test in tests:
                say.send((test, {"result": "n/a", "detail": reason}))
            return
        for test in set(tests) & set(server.without):
            say.send((test, {"result": "n/a", "detail": server.without[test]}))
        tests = [test for test in tests if test not in server.without]
        server.install(zoo)
        say.send(("version", server.version(zoo)))
        with zoo.keys_at_home(server.name) if server.keys_at_home else contextlib.nullcontext():
            check_server(zoo, server)
            # A fresh one for each test, so that what one did to it is no other's trouble; to start it takes most of the
            # time of a quick test, so the short form does with one.
            for some in [tests] if zoo.short else [[test] for test in tests]:
                instance = zoo_module.Instance(server, zoo)
                try:
                    for test in some:
                        say.send((test, run_cell(zoo, server, instance, test)))
                finally:
                    instance.stop()
    except zoo_module.Absent as e:
        say.send(("absent", str(e)))
    finally:
        say.close()


def check_server(zoo, server):
    """Plain ssh gets a command's status from it; else its trouble is of our own making, and would be told `as ssh`."""
    if server.only:
        return  # ssh is not expected to
    instance = zoo_module.Instance(server, zoo)
    try:
        with Bed(zoo, server, instance, plain=True) as bed:
            fault = wrong(server, bed.way().run(server.command("word", 7)), "word", 7)
    except Broken as e:
        fault = (e.kind, e.detail)
    finally:
        instance.stop()
    if fault:
        raise zoo_module.Absent(f"plain ssh cannot use it: {fault[1]}")


def run_all(zoo, chosen, tests, jobs, progress):
    """{server: {"version", "cells"}}; so many servers at a time."""
    table = {server.name: {"version": "", "cells": {}} for server in chosen}
    waiting, running = list(chosen), {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                server = waiting.pop(0)
                ours, theirs = multiprocessing.Pipe(duplex=False)
                process = multiprocessing.Process(target=serve_one, args=(zoo, server, tests_of(zoo, server, tests), theirs))
                process.start()
                theirs.close()
                running[ours] = (server, process)
            for pipe in multiprocessing.connection.wait(list(running)):
                server, process = running[pipe]
                row = table[server.name]
                try:
                    what, value = pipe.recv()
                except EOFError:
                    process.join()
                    del running[pipe]
                    missing = [test for test in tests_of(zoo, server, tests) if test not in row["cells"]]
                    for test in missing:
                        row["cells"][test] = {"result": "absent", "detail": row.get("absent", "its process ended early")}
                    continue
                if what in ("version", "absent"):
                    row[what] = value
                else:
                    row["cells"][what] = value
                    progress(server.name, what, value)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(60)
    return table


def print_table(table, tests):
    width = max(len(name) for name in table) + 2
    columns = [test for test in tests if any(test in row["cells"] for row in table.values())]
    print("\n" + " " * width + "".join(f"{test:<{max(len(test), 6) + 2}}" for test in columns))
    for name, row in table.items():
        cells = (f"{row['cells'].get(test, {'result': '-'})['result']:<{max(len(test), 6) + 2}}" for test in columns)
        print((f"{name:<{width}}" + "".join(cells)).rstrip())
    print()
    for kind in ("DEFECT", "as ssh"):
        for name, row in table.items():
            for test, cell in row["cells"].items():
                if cell["result"] == kind:
                    print(f"{kind}  {name}  {test}: {cell['detail']}")
    for name, row in table.items():
        absent = [cell["detail"] for cell in row["cells"].values() if cell["result"] == "absent"]
        if absent:
            print(f"absent  {name}: {absent[0]}")
    counts = count(table)
    print("\n" + ", ".join(f"{counts[result]} {result}" for result in RESULTS))
    return counts


def count(table):
    results = [cell["result"] for row in table.values() for cell in row["cells"].values()]
    return {result: results.count(result) for result in RESULTS}


def write_junit(path, table):
    suite = ElementTree.Element("testsuite", name="interop")
    for name, row in table.items():
        for test, cell in row["cells"].items():
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=test, time=str(cell.get("seconds", 0)))
            if cell["result"] in ("DEFECT", "absent"):
                failure = ElementTree.SubElement(case, "failure", message=printable(cell["detail"]))
                failure.text = printable("\n".join([*cell.get("log", []), f"plain ssh: {cell.get('ssh', 'not asked')}",
                                                    cell["detail"]]))
            elif cell["result"] == "n/a":
                ElementTree.SubElement(case, "skipped", message=cell["detail"])
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def printable(text):
    """XML has no way to write most control characters."""
    return "".join(c if c in "\n\t" or c >= " " else "?" for c in text)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/interop", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer servers, the quick tests")
    parser.add_argument("--server", action="append", metavar="NAME", help="this server (may be given again)")
    parser.add_argument("--test", action="append", metavar="NAME", choices=list(TESTS), help="this test (may be given again)")
    parser.add_argument("--build", metavar="DIR", help="the build to test; else $SSHLEASE_BUILD, else the one that is there")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="servers at a time (2)")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    parser.add_argument("--junit", metavar="FILE", help="write a report for scripts/check there")
    parser.add_argument("--list", action="store_true", help="print the servers and the tests")
    options = parser.parse_args()
    if options.build:
        os.environ["SSHLEASE_BUILD"] = os.path.abspath(options.build)
    os.environ["LSAN_OPTIONS"] = "suppressions=" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsan.supp")
    return parser, options


def main():
    parser, options = arguments()
    chosen = servers_module.every()
    names = [server.name for server in chosen]
    unknown = [name for name in options.server or [] if name not in names]
    if unknown:
        parser.error(f"no server {unknown[0]}; there are {', '.join(names)}")
    if options.server:
        chosen = [server for server in chosen if server.name in options.server]
    elif options.short:
        chosen = [server for server in chosen if server.short]
    tests = [test for test in TESTS if not options.test or test in options.test]
    if options.list:
        print("servers:", *(server.name + (" (short)" if server.short else "") for server in chosen), sep="\n  ")
        print("tests:", *(test + (" (short)" if test in SHORT else "") for test in tests), sep="\n  ")
        return 0
    print(f"testing {daemon_module.build()}", flush=True)
    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started us with it ignored
    started = time.monotonic()

    def progress(name, test, cell):
        detail = f": {cell['detail']}" if cell["result"] not in ("ok", "n/a") else ""
        print(f"{time.monotonic() - started:6.0f} s  {name}  {test}  {cell['result']}{detail}", flush=True)

    with account_module.plain() as account:
        zoo = zoo_module.Zoo(account, options.short)
        try:
            table = run_all(zoo, chosen, tests, options.jobs, progress)
        finally:
            zoo.close()
    counts = print_table(table, tests)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"build": os.path.relpath(daemon_module.build(), zoo_module.ROOT), "short": options.short,
                       "counts": counts, "servers": table}, f, indent=1)
            f.write("\n")
    if options.junit:
        write_junit(options.junit, table)
    return 1 if counts["DEFECT"] or counts["absent"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interop: interrupted", file=sys.stderr)
        sys.exit(130)
