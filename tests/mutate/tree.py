# SPDX-License-Identifier: MIT
"""A private copy of the sources with a build of its own, and commands that leave nothing running."""

import filecmp
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time


def run(words, seconds, **options):
    """(status, output); the status is None when its time was up. In a PID namespace, whose end ends all in it: nothing is
    left running, and what is mistaken about whom to kill finds nobody else. The shell in it reaps orphans."""
    alone = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-current-user"]), "--pid", "--fork",
             "--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([*alone, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   **options)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        return status, out.read().decode(errors="replace")


class Tree:
    """`root`/tree and `root`/build. With the sanitizers, as in scripts/check; without -g, for speed."""

    def __init__(self, source, root):
        self.source, self.dir, self.build_dir, self.jobs = source, f"{root}/tree", f"{root}/build", os.cpu_count()
        self.until = float("inf")
        listed = subprocess.run(["git", "ls-files"], cwd=source, capture_output=True, text=True, check=True).stdout
        self.files = [f for f in listed.splitlines() if os.path.isfile(os.path.join(source, f))]

    def path(self, file):
        return pathlib.Path(self.dir, file)

    def prepare(self):
        """Copies what differs and builds it all."""
        for file in self.files:
            ours, theirs = pathlib.Path(self.source, file), self.path(file)
            if not theirs.exists() or not filecmp.cmp(ours, theirs, shallow=False):
                theirs.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ours, theirs)
                shutil.copymode(ours, theirs)
        if not self.path(".deps").is_symlink():
            self.path(".deps").symlink_to(os.path.join(self.source, ".deps"))
        # A change in base links a hundred programs anew.
        linker = ["-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld"] if shutil.which("ld.lld") else []
        status, out = run(["cmake", *linker, "-S", self.dir, "-B", self.build_dir, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
                           "-DSSHLEASE_SANITIZE=address,undefined", "-DCMAKE_C_FLAGS_DEBUG=-O1"], 300)
        if status == 0:
            status, out = self.build("all", seconds=1800)
        if status != 0:
            sys.exit(f"mutate: the unchanged sources do not build in {self.build_dir}:\n{out[-4000:]}")
        with open(f"{self.build_dir}/compile_commands.json", encoding="utf-8") as f:
            self.commands = {os.path.relpath(c["file"], self.dir): shlex.split(c["command"]) for c in json.load(f)}
        self.unchanged = self.hashes()
        out = subprocess.run(["ctest", "--test-dir", self.build_dir, "--show-only=json-v1"], capture_output=True, text=True,
                             check=True).stdout
        self.tests = {t["name"]: os.path.basename(t["command"][0]) for t in json.loads(out)["tests"] if "command" in t}

    def hashes(self):
        found = {}
        for program in pathlib.Path(self.build_dir, "bin").iterdir():
            with open(program, "rb") as f:
                found[program.name] = hashlib.file_digest(f, "sha256").digest()
        return found

    def changed(self):
        """The programs that are others than those of the unchanged sources."""
        return {name for name, digest in self.hashes().items() if self.unchanged.get(name) != digest}

    def left(self, seconds):
        """No more than until the mutant's time is up."""
        return max(min(seconds, self.until - time.monotonic()), 1)

    def build(self, *targets, seconds=300):
        return run(["cmake", "--build", self.build_dir, "-j", str(self.jobs), "--target", *targets], seconds)

    def object_code(self, file):
        """What the optimizer makes of a file, without sanitizers, which put line and column into it; None: an error."""
        words = [w for w in self.commands[file] if not w.startswith(("-fsanitize", "-fno-sanitize", "-g", "-O"))]
        out = f"{self.build_dir}/one.o"
        words[words.index("-o") + 1] = out
        if run([*words, "-O2", "-w"], 120, cwd=self.build_dir)[0] != 0:
            return None
        with open(out, "rb") as f:
            return f.read()

    def ctest(self, names, again=2):
        """The name of a test among these that failed, and by itself once more, or None. A test that does not end failed."""
        if not names:
            return None
        words = ["ctest", "--test-dir", self.build_dir, "--parallel", str(self.jobs), "--stop-on-failure", "-R",
                 "|".join(f"^{re.escape(name)}$" for name in sorted(names))]
        status, out = run(words, self.left(900))
        failed = re.search(r"^\t *\d+ - (\S+) \(", out, re.M)
        if status == 0 or not failed:
            return None if status == 0 else "no end in time" if status is None else f"ctest: {out[-300:]}"
        if run([*words[:-1], f"^{re.escape(failed[1])}$"], self.left(300))[0] != 0:
            return failed[1]
        return self.ctest(names, again - 1) if again > 0 else None

    def system(self, tests, again=2):
        """The same of system tests: files, or single tests as pytest names them."""
        env = {**os.environ, "SSHLEASE_BUILD": self.build_dir, "UBSAN_OPTIONS": "print_stacktrace=1"}
        words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x"]
        status, out = run([*words, "-n", str(self.jobs), *tests], self.left(1800), cwd=self.dir, env=env)
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", out, re.M)
        if status == 0 or not failed:
            return None if status == 0 else "no end in time" if status is None else out[-300:]
        if run([*words, failed[1]], self.left(300), cwd=self.dir, env=env)[0] != 0:
            return failed[1]
        return self.system(tests, again - 1) if again > 0 else None
