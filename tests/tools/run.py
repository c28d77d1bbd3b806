#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs what people do with ssh and with the programs that run it, three ways each (plain ssh, a real ControlMaster, sshleased)
and compares exit status, output and resulting files with plain ssh's. One row for each.

    same        as plain ssh
    better      as plain ssh where a master is not, or README.md says in what we are better
    documented  README.md, "What differs", says so
    as master   as with a ControlMaster, and not as plain ssh
    worse       none of these: a defect
    broken      plain ssh itself did not do what the row is about
    absent      a program of the row is not installed (--install)

Exit status: 0 without a row that is worse, broken or absent.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import here                           # noqa: E402  first: it knows where the modules of the system tests are
import account as account_module      # noqa: E402
import daemon as daemon_module        # noqa: E402
import place as place_module          # noqa: E402
import rows as rows_module            # noqa: E402
import ways as ways_module            # noqa: E402
from row import PRELUDE, Ran, judge   # noqa: E402
from sshd import send                 # noqa: E402

VERDICTS = ("same", "better", "documented", "as master", "worse", "broken", "absent")
BAD = ("worse", "broken", "absent")
SLOW_RATIO, SLOW_SECONDS = 1.5, 0.3


def on_term(*_):
    raise SystemExit(1)


class Runner:
    def __init__(self, place, servers, ways):
        self.place, self.servers = place, servers
        self.ways = {way.name: way for way in ways}
        with open(os.path.join(here.ROOT, "README.md"), encoding="utf-8") as f:
            self.readme = " ".join(f.read().split())

    def bash(self, way, script, timeout):
        """(status or None, output, errors). Nothing that it started outlives the call."""
        env = self.place.row_env(way)
        ways_module.write(f"{self.place.dir}/home/ansible.cfg", rows_module.ansible_config(way, self.place))
        out, err = (open(f"{self.place.dir}/{name}", "w+b") for name in ("stdout", "stderr"))
        with out, err:
            # Files, and no pipes: what stays in the background, an `ssh -fN`, holds them as long as it likes.
            process = subprocess.Popen(["bash", "-c", PRELUDE + script], env=env, cwd=f"{self.place.dir}/out", stdout=out,
                                       stderr=err, stdin=subprocess.DEVNULL, start_new_session=True)
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            out.seek(0)
            err.seek(0)
            return status, out.read(), err.read()

    def once(self, row, way):
        self.place.clear()
        way.warm(row.hosts)
        if row.setup:
            status, out, err = self.bash(self.ways["ssh"], "set -e\n" + row.setup, row.timeout)
            if status != 0:
                raise here.Unusable(f"{row.name}: its setup ended with {status}: {(out + err).decode(errors='replace')[-500:]}")
        granted = way.granted() if way.name == "sshlease" else None
        logins, since = self.servers.logins(), time.monotonic()
        status, out, err = self.bash(way, row.script, row.timeout)
        seconds, logins = time.monotonic() - since, self.servers.logins() - logins
        left = None
        try:
            ways_module.send_signal_to_run(self.place.mark, signal.SIGTERM)
            files = [f"{name}/{line}" for name in ("out", "far") for line in place_module.digest_of(f"{self.place.dir}/{name}")]
            left = way.rest(row.hosts)
            if granted is not None and way.granted() == granted:
                left = "no lease was taken: it went round us"
        finally:
            ways_module.send_signal_to_run(self.place.mark, signal.SIGKILL)
            for server in self.servers.every():
                send(server.remote(), signal.SIGKILL)
            self.place.unmount()
        return Ran(status, out, err, files, seconds, logins, left)

    def run(self, row):
        """A row as the JSON has it."""
        missing = [program for program in row.needs if not shutil.which(program)]
        if missing:
            return {"verdict": "absent", "why": f"not installed: {', '.join(missing)}", "ways": {}}
        ours = self.ways["sshlease"]
        mark = ours.daemon.log.mark()
        ran = {name: self.once(row, way) for name, way in self.ways.items()}
        verdict, why = judge(row, ran, self.readme)
        found = {"verdict": verdict, "why": why, "slow": self.slow(row, ran)}
        found["ways"] = {name: told(one) for name, one in ran.items()}
        if verdict in BAD:
            found["log"] = ours.log(mark)
        return found

    def slow(self, row, ran):
        """Whether it is, and stays so when both are run again: what else the machine does is no matter of ours."""
        for again in (True, True, False):
            theirs, ours = ran["master"].seconds, ran["sshlease"].seconds
            if ours <= SLOW_RATIO * theirs or ours - theirs <= SLOW_SECONDS:
                return False
            if again:
                for name in ("master", "sshlease"):
                    ran[name].seconds = min(ran[name].seconds, self.once(row, self.ways[name]).seconds)
        return True


def told(ran):
    return {"status": ran.status, "seconds": round(ran.seconds, 2), "logins": ran.logins,
            "output": ran.output[-2000:].decode(errors="replace"), "errors": ran.errors[-2000:].decode(errors="replace")}


def line_of(name, found, width):
    cells = []
    for way in ("ssh", "master", "sshlease"):
        one = found["ways"].get(way)
        status = "-" if not one else "hung" if one["status"] is None else str(one["status"])
        cells.append(f"{status:>4} {one['seconds']:7.2f}" if one else " " * 12)
    slow = "  SLOW" if found.get("slow") else ""
    why = f"  {found['why']}" if found["verdict"] in BAD or slow else ""
    return f"{name:<{width}}{'  '.join(cells)}  {found['verdict']}{slow}{why}"


def print_head(width):
    print(f"{'':<{width}}{'ssh':>12}  {'master':>12}  {'sshlease':>12}\n{'':<{width}}"
          + "  ".join("status     s" for _ in range(3)), flush=True)


def count(table):
    verdicts = [found["verdict"] for found in table.values()]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def write_junit(path, table):
    suite = ElementTree.Element("testsuite", name="tools")
    for name, found in table.items():
        seconds = sum(one["seconds"] for one in found["ways"].values())
        group, _, row = name.partition(": ")
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=row, time=f"{seconds:.2f}")
        if found["verdict"] in BAD:
            failure = ElementTree.SubElement(case, "failure", message=printable(f"{found['verdict']}: {found['why']}"))
            failure.text = printable("\n".join([*found.get("log", []), found["why"]]))
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def printable(text):
    """XML has no way to write most control characters."""
    return "".join(c if c in "\n\t" or c >= " " else "?" for c in text)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/tools", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the quick rows, in well under a minute")
    parser.add_argument("--install", action="store_true", help="install the programs of the rows first (scripts/setup --tools)")
    parser.add_argument("--row", action="append", metavar="TEXT", help="rows with TEXT in their name (may be given again)")
    parser.add_argument("--sharing", type=int, default=1, metavar="N", help="sessions on one connection of sshleased (1)")
    parser.add_argument("--build", metavar="DIR", help="the build to test; else $SSHLEASE_BUILD, else the one that is there")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    parser.add_argument("--junit", metavar="FILE", help="write a report for scripts/check there")
    parser.add_argument("--list", action="store_true", help="print the rows")
    options = parser.parse_args()
    if options.build:
        os.environ["SSHLEASE_BUILD"] = os.path.abspath(options.build)
    return parser, options


def chosen_rows(options):
    chosen = [row for row in rows_module.every() if os.geteuid() == 0 or not row.root]
    if options.short:
        chosen = [row for row in chosen if row.short]
    if options.row:
        chosen = [row for row in chosen if any(text in row.name for text in options.row)]
    return chosen


def run_all(chosen, settings, width, table):
    """`table`: {row's name: as the JSON has it}, told as they come."""
    with account_module.plain() as account:
        place = place_module.Place(account)
        servers, ways = None, []
        try:
            servers = place_module.Servers(place.keys, account, place.dir)
            ways.append(ways_module.Way(place, servers))
            ways.append(ways_module.Master(place, servers))
            ways.append(ways_module.Ours(place, servers, settings))
            runner = Runner(place, servers, ways)
            print_head(width)
            for row in chosen:
                table[row.name] = runner.run(row)
                print(line_of(row.name, table[row.name], width), flush=True)
        finally:
            for way in ways:
                way.close()
            if servers:
                servers.stop()
            place.close()


def write_reports(options, table, counts):
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"build": os.path.relpath(daemon_module.build(), here.ROOT), "short": options.short, "counts": counts,
                       "rows": table}, f, indent=1)
            f.write("\n")
    if options.junit:
        write_junit(options.junit, table)


def main():
    parser, options = arguments()
    chosen = chosen_rows(options)
    if not chosen:
        parser.error("no such row; --list names them")
    if options.list:
        print(*(row.name + (" (short)" if row.short else "") for row in chosen), sep="\n")
        return 0
    print(f"testing {daemon_module.build()}", flush=True)
    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started us with it ignored
    started, table = time.monotonic(), {}
    try:
        run_all(chosen, {"sharing": options.sharing}, max(len(row.name) for row in chosen) + 2, table)
    except here.Unusable as e:
        print(f"tools: {e}", file=sys.stderr)
        return 1
    finally:
        write_reports(options, table, count(table))
    counts = count(table)
    print("\n" + ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
          + f"; {time.monotonic() - started:.0f} s")
    return 1 if any(counts[verdict] for verdict in BAD) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("tools: interrupted", file=sys.stderr)
        sys.exit(130)
