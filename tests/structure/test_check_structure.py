#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Shows each rule of check_structure.py catching what it is there for, on small trees and objects made for it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import check_structure  # noqa: E402


class Tree(unittest.TestCase):
    def complaints(self, files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{check_structure.LICENCE}\n{text}", encoding="utf-8")
            return list(check_structure.check_tree(pathlib.Path(root)))

    def assert_one(self, files, part):
        found = self.complaints(files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(part, found[0])

    def test_good_tree(self):
        self.assertEqual(
            self.complaints(
                {
                    "proto/status.h": "",
                    "config/policy.h": "",
                    "base/id.h": "",
                    "daemon/core/pool.h": '#include "base/id.h"\n#include "config/policy.h"\n',
                    "daemon/core/pool.c": '#include "daemon/core/pool.h"\n#include "proto/status.h"\n#include <string.h>\n',
                    "daemon/lease/lease.h": "#include <uv.h>\n",
                    "daemon/lease/life.c": '#include "daemon/lease/lease.h"\n#include "daemon/core/pool.h"\n',
                    "daemon/ssh/session/session.c": "#include <libssh2.h>\n#include <uv.h>\n",
                    "tests/unit/x.c": '#include "daemon/core/pool.h"\n#include <yaml.h>\n',
                }
            ),
            [],
        )

    def test_foreign_headers(self):
        self.assert_one({"daemon/front/native/native.c": "#include <libssh2.h>\n"}, "libssh2.h")
        self.assert_one({"daemon/core/pool.c": "#include <uv.h>\n"}, "uv.h")
        self.assert_one({"proto/wire.c": "#include <uv.h>\n"}, "uv.h")
        self.assert_one({"config/conf.c": "#include <uv.h>\n"}, "uv.h")
        self.assert_one({"client/link.c": "#include <uv.h>\n"}, "uv.h")
        self.assert_one({"daemon/app/app.c": "#include <yaml.h>\n"}, "yaml.h")
        self.assert_one({"daemon/front/native/native.c": "#include <systemd/sd-daemon.h>\n"}, "systemd/sd-daemon.h")
        self.assert_one({"daemon/lease/life.c": "#include <openssl/evp.h>\n"}, "openssl/evp.h")

    def test_states(self):
        moving = "SL_MOVE(phases, lease->phase, to);\n"
        self.assertEqual(self.complaints({"daemon/lease/phase.c": moving, "daemon/lease/life.c": "lease->phase == X\n"}), [])
        self.assert_one({"daemon/lease/life.c": "lease->phase = X;\n"}, "sets lease->phase by hand")
        self.assert_one({"daemon/lease/phase.c": moving + "lease->phase = X;\n"}, "sets lease->phase by hand")
        self.assert_one({"daemon/lease/life.c": moving}, "in 1 places; the one is in daemon/lease/phase.c")
        self.assert_one({"daemon/lease/phase.c": moving + moving}, "in 2 places")
        self.assert_one({"daemon/lease/phase.c": "lease->phase == X\n"}, "in 0 places")

    def test_rooms(self):
        def across(source, header):
            self.assert_one({source: f'#include "{header}"\n', header: ""}, f'may not include "{header}"')

        across("daemon/core/pool.c", "config/conf.h")
        across("daemon/core/pool.c", "base/log.h")
        across("daemon/core/pool.c", "daemon/lease/lease.h")
        across("daemon/lease/life.c", "daemon/ssh/session/session.h")
        across("daemon/lease/life.c", "daemon/front/native/native.h")
        across("daemon/front/native/native.c", "daemon/core/pool.h")
        across("daemon/ssh/session/session.c", "daemon/core/pool.h")
        across("daemon/net/listener.c", "daemon/lease/lease.h")
        across("base/log.c", "daemon/net/listener.h")
        across("proto/wire.c", "base/log.h")
        across("config/conf.c", "base/log.h")
        across("client/link.c", "base/log.h")
        across("client/cli/main.c", "client/internal.h")
        across("daemon/main.c", "daemon/lease/lease.h")
        across("daemon/relay/fd_io.c", "daemon/lease/lease.h")
        across("daemon/front/native/native.c", "daemon/front/mux/client.h")
        across("daemon/front/mux/mux.c", "daemon/front/forward/forward.h")
        across("daemon/ssh/keys/agent.c", "daemon/ssh/session/io.h")
        across("daemon/ssh/session/io.c", "daemon/ssh/channel/channel.h")
        across("daemon/ssh/login/auth.c", "daemon/ssh/channel/channel.h")
        across("daemon/ssh/channel/stream.c", "daemon/ssh/login/auth.h")
        across("daemon/ssh/channel/tenant.c", "daemon/ssh/reclaim/reclaim.h")

    def test_leaves_are_for_all(self):
        self.assertEqual(
            self.complaints({"config/conf.h": "", "daemon/ssh/login/auth.c": '#include "config/conf.h"\n'}), []
        )

    def test_paths_and_rooms(self):
        self.assert_one({"proto/wire.c": '#include "wire.h"\n', "proto/wire.h": ""}, "no path from the repository")
        self.assert_one({"tests/unit/x.c": '#include "world.h"\n'}, "no path from the repository")
        self.assertEqual(self.complaints({"tests/unit/x.c": '#include "world.h"\n', "tests/unit/world.h": ""}), [])
        self.assert_one({"daemon/misc/util.c": ""}, "in no room")

    def test_circle(self):
        self.assert_one(
            {"proto/a.h": '#include "proto/b.h"\n', "proto/b.h": '#include "proto/a.h"\n'},
            "proto/a.h -> proto/b.h -> proto/a.h",
        )

    def test_size_and_unfinished(self):
        self.assert_one({"proto/wire.c": "\n" * 600}, "601 lines")
        self.assertEqual(self.complaints({"proto/wire.c": "\n" * 599}), [])
        self.assert_one({"proto/wire.c": "/* TO" + "DO: later */\n"}, "says TO" + "DO")


class Names(unittest.TestCase):
    FILES = {
        "daemon/ssh/keys/agent.c": "/* See agent.h, ssh/keys/agent*.c and sl_agent_open(). */\nint sl_agent_open(void);\n",
        "daemon/ssh/keys/agent.h": "",
        "proto/README.md": "`ssh/keys/agent`, `daemon/ssh/keys/agent.c`, `proto/README.md`, tests/unit/ROOM/test_MODULE.c; init/fini, ~/base/x\n",
        "tests/unit/keys/test_agent.c": "",
    }

    def complaints(self, path, text):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for file, words in {**self.FILES, path: text}.items():
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (root / file).write_text(words, encoding="utf-8")
            return [*check_structure.check_comments(root), *check_structure.check_documents(root)]

    def assert_one(self, path, text, part):
        found = self.complaints(path, text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(part, found[0])

    def test_what_is_there(self):
        self.assertEqual(self.complaints("base/x.c", 'int x(void); /* as asked */\nchar y[] = "gone.c gone()";\n'), [])

    def test_comments(self):
        self.assert_one("base/x.c", "\n/* as gone.c does */\n", "base/x.c:2: a comment names gone.c")
        self.assert_one("base/x.c", "/* for gone_*.c only */\n", "a comment names gone_*.c")
        self.assert_one("base/x.c", "/* login/agent.c's */\n", "a comment names login/agent.c")
        self.assert_one("base/x.c", "/* after\n * sl_agent_close() */\n", "a comment names sl_agent_close()")

    def test_where_it_is_defined(self):
        self.FILES = {**self.FILES, "base/x.c": "int sl_x(int a)\n{\n}\n", "base/y.c": ""}
        self.assertEqual(self.complaints("base/x.h", "/* base/y.c */\nint z(void);\n\n/* base/x.c: it. */\nint sl_x(int a);\n"), [])
        self.assert_one("base/x.h", "/* base/x.c */\n\n/* y.c */\nint sl_x(\n    int a);\n", "declares sl_x() under y.c")

    def test_documents(self):
        self.assert_one("x.md", "\n`daemon/ssh/login/agent`\n", "x.md:2: names daemon/ssh/login/agent")
        self.assert_one("x.md", "(keys/gone*)\n", "names keys/gone*")
        self.assert_one("base/x.md", "`gone.c`\n", "base/x.md:1: names gone.c")
        self.assert_one("x.md", "(`sl_agent_open()`,\n `sl_agent_gone()`)\n", "x.md:2: names sl_agent_gone()")


class Objects(unittest.TestCase):
    def complaints(self, archives, shared=""):
        with tempfile.TemporaryDirectory() as root:
            lib = pathlib.Path(root, "lib")
            lib.mkdir()
            compiler = [os.environ.get("CC", "cc"), "-fPIC", "-O1"]
            for name, text in archives.items():
                source, obj = lib / f"{name}.c", lib / f"{name}.o"
                source.write_text(text, encoding="utf-8")
                subprocess.run([*compiler, "-c", "-o", obj, source], check=True)
                subprocess.run(["ar", "rcs", lib / f"lib{name}.a", obj], check=True)
            if shared:
                source = lib / "shared.c"
                source.write_text(shared, encoding="utf-8")
                subprocess.run([*compiler, "-shared", "-o", lib / "libsshlease.so", source], check=True)
            return list(check_structure.check_objects(pathlib.Path(root)))

    def test_pure(self):
        core = "int sl_f(void);\nint sl_pool(void);\nint sl_pool(void) { return sl_f() + 1; }\n"
        proto = "int sl_f(void);\nint sl_f(void) { return 1; }\n"
        self.assertEqual(self.complaints({"sl_core": core, "sl_proto": proto}), [])

    def test_impure(self):
        clock = "#include <time.h>\nlong sl_now(void);\nlong sl_now(void) { return (long)time(0); }\n"
        found = self.complaints({"sl_core": clock})
        self.assertEqual(found, ["libsl_core.a: imports time, which is not pure"])

    def test_proto_may_not_need_the_core(self):
        found = self.complaints(
            {
                "sl_proto": "int sl_pool(void);\nint sl_f(void);\nint sl_f(void) { return sl_pool() + 1; }\n",
                "sl_core": "int sl_pool(void);\nint sl_pool(void) { return 1; }\n",
            }
        )
        self.assertEqual(found, ["libsl_proto.a: imports sl_pool, which is not pure"])

    def test_globals(self):
        found = self.complaints(
            {"sl_net": "static int count;\nstatic const char *const name[] = {\"a\"};\nint sl_n(int i);\n"
                       "int sl_n(int i) { return ++count + name[i][0]; }\n"}
        )
        self.assertEqual(found, ["libsl_net.a: has the mutable global count"])

    def test_exports(self):
        found = self.complaints({}, shared="int sl_f(void);\nint sl_f(void) { return 1; }\nint sshlease_f(void);\n"
                                           "int sshlease_f(void) { return 1; }\n")
        self.assertEqual(found, ["libsshlease.so: exports sl_f"])


class Calls(unittest.TestCase):
    def complaints(self, files, deleted=()):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for path, text in files.items():
                source = root / path
                source.parent.mkdir(parents=True, exist_ok=True)
                source.write_text(text, encoding="utf-8")
                obj = root / "build" / source.parent.relative_to(root) / "CMakeFiles/room.dir" / f"{source.name}.o"
                obj.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run([os.environ.get("CC", "cc"), "-c", "-o", obj, source], check=True)
                if path in deleted:
                    source.unlink()
            return list(check_structure.check_calls(root, root / "build"))

    DOWN = "int sl_low(void);\nint sl_high(void);\nint sl_high(void) { return sl_low() + 1; }\n"
    UP = "int sl_low(void);\nint sl_high(void);\nint sl_low(void) { return sl_high() + 1; }\n"
    LOW = "int sl_low(void);\nint sl_low(void) { return 1; }\n"

    def test_downwards(self):
        self.assertEqual(self.complaints({"daemon/net/high.c": self.DOWN, "daemon/net/low.c": self.LOW}), [])

    def test_circle(self):
        found = self.complaints({"daemon/net/high.c": self.DOWN, "daemon/net/low.c": self.UP})
        self.assertEqual(found, ["circle of calls: daemon/net/high.c -> daemon/net/low.c -> daemon/net/high.c"])

    def test_circle_across_rooms(self):
        found = self.complaints({"daemon/front/high.c": self.DOWN, "base/low.c": self.UP})
        self.assertEqual(len(found), 1, found)

    def test_deleted_and_tests_do_not_count(self):
        circle = {"daemon/net/high.c": self.DOWN, "daemon/net/low.c": self.UP}
        self.assertEqual(self.complaints(circle, deleted=["daemon/net/low.c"]), [])
        self.assertEqual(self.complaints({"tests/unit/high.c": self.DOWN, "daemon/net/low.c": self.UP}), [])


if __name__ == "__main__":
    unittest.main()
