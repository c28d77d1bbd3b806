#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks who may include whom, who calls whom, what the pure objects import, what comments and documents name, and a few
rules of the house.

ARCHITECTURE.md tells why; the tables below are the rule. Usage: check_structure.py ROOT [BUILD_DIR]
"""

import fnmatch
import pathlib
import re
import subprocess
import sys

# A file's room is the first of these that its path matches.
ROOMS = [
    ("main", r"daemon/main\.c"),
    ("app", r"daemon/app/"),
    ("lease", r"daemon/lease/"),
    ("core", r"daemon/core/"),
    ("relay", r"daemon/relay/"),
    ("keys", r"daemon/ssh/keys/"),
    ("session", r"daemon/ssh/session/"),
    ("login", r"daemon/ssh/login/"),
    ("channel", r"daemon/ssh/channel/"),
    ("reclaim", r"daemon/ssh/reclaim/"),
    ("ssh", r"daemon/ssh/"),
    ("net", r"daemon/net/"),
    ("native", r"daemon/front/native/"),
    ("mux", r"daemon/front/mux/"),
    ("forward", r"daemon/front/forward/"),
    ("front", r"daemon/front/"),
    ("base", r"base/"),
    ("proto", r"proto/"),
    ("config", r"config/"),
    ("cli", r"client/cli/"),
    ("example", r"client/examples?/"),
    ("client", r"client/"),
    ("tests", r"tests/"),
]

# Leaves that include nothing but each other and the C library: a status code, a number and a setting mean the same
# everywhere. The core takes the two that name no file, user or key.
CORE_LEAVES = {"proto/status.h", "config/policy.h"}
LEAVES = CORE_LEAVES | {"config/conf.h"}

# What else each room may include: its own files always, then these paths (a trailing slash means the whole room).
TRANSPORT, STREAMS = "daemon/ssh/transport.h", "daemon/ssh/streams.h"
# Of base/, what is pure.
PURE_BASE = {f"base/{name}.h" for name in ("buf", "container", "duration", "fail", "id", "state", "text", "who")}
FRONT = {"daemon/lease/lease.h", "daemon/relay/relay.h", STREAMS, "daemon/front/texts.h", "daemon/net/", "base/", "proto/"}
MAY_INCLUDE = {
    "main": {"daemon/app/app.h", "base/"},
    "app": {"daemon/lease/lease.h", "daemon/front/native/", "daemon/front/mux/", "daemon/net/", "daemon/ssh/", "base/", "config/", "proto/"},
    "lease": {"daemon/core/", TRANSPORT, STREAMS, "base/", "config/"},
    "relay": {STREAMS, "daemon/net/", "base/"},
    "native": FRONT,
    "mux": FRONT,
    "forward": FRONT | {"daemon/front/mux/"},
    "front": {"base/", "proto/"},
    "core": {"base/container.h", "base/id.h", "base/state.h"},
    "keys": {TRANSPORT, "base/", "proto/"},
    "session": {"daemon/ssh/keys/", TRANSPORT, "base/", "proto/"},
    "login": {"daemon/ssh/session/", "daemon/ssh/keys/", "base/", "proto/"},
    "channel": {"daemon/ssh/session/", "daemon/ssh/keys/", TRANSPORT, STREAMS, "base/", "proto/"},
    "reclaim": {"daemon/ssh/channel/", "daemon/ssh/session/", "daemon/ssh/keys/", "base/", "proto/"},
    "ssh": {"daemon/ssh/", "daemon/net/dial.h", "base/", "proto/"},
    "net": {"base/", "proto/"},
    "base": set(),
    "proto": set(),
    "config": PURE_BASE,
    "client": {"proto/"} | PURE_BASE,
    "cli": {"client/sshlease.h", "proto/tty_modes.h"} | PURE_BASE,
    "example": {"client/sshlease.h"},
}

# Other people's headers, and the only rooms that may know them (tests may know everything).
FOREIGN = [
    (r"libssh2\w*\.h", {"ssh", "keys", "session", "login", "channel", "reclaim"}),
    (r"uv\.h", {"ssh", "keys", "session", "login", "channel", "reclaim", "net", "relay", "front", "native", "mux", "forward", "lease", "app", "main"}),
    (r"yaml\.h", {"config"}),
    (r"openssl/.*", {"ssh", "keys", "session", "login", "channel", "reclaim"}),
    (r"systemd/.*", {"app", "net"}),
    (r"jansson\.h", {"native", "cli"}),
]

# What the objects of the pure rooms may import. No clock, no file, no socket, no randomness, no environment.
PURE_ROOMS = {
    "sl_core": {"sl_core", "sl_proto"},
    "sl_proto": {"sl_proto"},
}
PURE_IMPORTS = set(
    """abort __assert_fail __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __errno_location
    malloc calloc realloc reallocarray free qsort bsearch
    memcpy memmove memset memcmp memchr memmem explicit_bzero __memcpy_chk __memmove_chk __memset_chk __explicit_bzero_chk
    strlen strnlen strcmp strncmp strchr strrchr strstr strdup strndup strcpy strspn strcspn __strcpy_chk __strncpy_chk
    snprintf vsnprintf __snprintf_chk __vsnprintf_chk""".split()
)
TOOL_IMPORTS = re.compile(r"__(asan|ubsan|tsan|sanitizer|gcov|sancov|llvm|start___sancov|stop___sancov|odr_asan)|mcount")

# Whose state changes where: under the folder, in that one line of the file only, and by SL_MOVE().
STATES = [
    ("daemon/core/", "conn->state", "daemon/core/conns.c"),
    ("daemon/core/", "lease->state", "daemon/core/leases.c"),
    ("daemon/ssh/", "conn->phase", "daemon/ssh/session/conn_base.c"),
    ("daemon/ssh/", "chan->state", "daemon/ssh/channel/channel.c"),
    ("daemon/ssh/", "tenant->state", "daemon/ssh/channel/tenant.c"),
    ("daemon/ssh/", "stream->state", "daemon/ssh/channel/stream.c"),
    ("daemon/ssh/", "remote->state", "daemon/ssh/channel/remote.c"),
    ("daemon/ssh/", "agent->state", "daemon/ssh/keys/agent.c"),
    ("daemon/ssh/", "reclaim->stage", "daemon/ssh/reclaim/reclaim.c"),
    ("daemon/lease/", "lease->phase", "daemon/lease/phase.c"),
    ("daemon/relay/", "r->phase", "daemon/relay/relay.c"),
    ("daemon/relay/", "s->state", "daemon/relay/fd_sink.c"),
    ("client/", "held->state", "client/lease.c"),
    ("client/loop.c", "link->state", "client/loop.c"),
    ("daemon/net/socket.c", "s->state", "daemon/net/socket.c"),
    ("daemon/front/mux/session.c", "s->phase", "daemon/front/mux/session.c"),
    ("daemon/front/mux/", "c->phase", "daemon/front/mux/client.c"),
    ("daemon/front/native/", "c->phase", "daemon/front/native/native.c"),
    ("daemon/front/native/", "s->phase", "daemon/front/native/stream.c"),
    ("daemon/front/native/", "job->phase", "daemon/front/native/admin.c"),
    ("daemon/front/forward/", "f->phase", "daemon/front/forward/list.c"),
    ("daemon/front/forward/", "conn->phase", "daemon/front/forward/conn.c"),
    ("daemon/lease/", "d->phase", "daemon/lease/turn.c"),
    ("daemon/lease/", "target->phase", "daemon/lease/targets.c"),
    ("daemon/core/", "pool->phase", "daemon/core/pool.c"),
    ("daemon/app/", "app->phase", "daemon/app/app.c"),
    ("daemon/app/", "app->reload", "daemon/app/config.c"),
]

MAX_LINES = 600
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)
LICENCE = "/* SPDX-License-Identifier: MIT */"
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
GENERATED = {"sshlease_version.h"}

# What comments and documents say of the tree: names of files, functions in comments, paths in documents.
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
NAMED_FILE = re.compile(r"(?<![\w./*-])[\w./*-]*[\w*]\.[ch]\b")
OUR_FUNCTION = re.compile(r"\bsl_\w+\(")
NAMED_FUNCTION = re.compile(r"\b(\w+)\(\)")
DEFINED = re.compile(r"^[a-z][^;{}=()]*?\b(\w+)\([^;{}]*\)\n\{", re.MULTILINE)
SECTION = re.compile(r"^/\* ([\w/]+\.c)\b.*?(?=^/\* [\w/]+\.c\b|\Z)", re.MULTILINE | re.DOTALL)
DECLARED = re.compile(r"^[a-z][^;{}=()]*?\b(\w+)\([^;{}]*\);", re.MULTILINE)
NAMED_PATH = re.compile(r"(?<![\w./*$~-])\w[\w.-]*(?:/[\w.*-]+)+")
PLACEHOLDER = re.compile(r"ROOM|MODULE|NAME")
FOLDERS = ("proto", "base", "config", "daemon", "client", "tests", "scripts", "patches", "cmake", "systemd")


def room_of(path):
    for room, pattern in ROOMS:
        if re.match(pattern, path):
            return room
    return None


def covered(path, allowed):
    return any(path == entry or (entry.endswith("/") and path.startswith(entry)) for entry in allowed)


def sources(root):
    """Every C file of ours, as a path relative to the root."""
    for folder in ("proto", "base", "config", "daemon", "client", "tests"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            yield path.relative_to(root).as_posix()


def check_include(path, kind, name, exists):
    """The complaints about one #include."""
    room = room_of(path)
    if kind == '"' and name not in GENERATED and not exists:
        yield f'{path}: includes "{name}", which is no path from the repository\'s root'
        return
    if room == "tests":
        return
    for pattern, rooms in FOREIGN:
        if re.fullmatch(pattern, name) and room not in rooms:
            yield f"{path}: includes <{name}>, which belongs to {', '.join(sorted(rooms))} only"
    if kind == '"' and name not in GENERATED:
        leaves = CORE_LEAVES if room in ("core", "proto") else LEAVES
        if name not in leaves and room_of(name) != room and not covered(name, MAY_INCLUDE[room]):
            yield f'{path}: {room} may not include "{name}"'


def circles(graph):
    """Each circle of includes, once, as the list of its files."""
    state, stack = {}, []

    def visit(node):
        state[node] = "open"
        stack.append(node)
        for following in graph.get(node, ()):
            if state.get(following) == "open":
                yield stack[stack.index(following):] + [following]
            elif following not in state:
                yield from visit(following)
        stack.pop()
        state[node] = "done"

    for node in sorted(graph):
        if node not in state:
            yield from visit(node)


def check_states(path, text):
    """The complaints about a file that changes a state which another one, or another line, is there for."""
    for folder, member, home in STATES:
        if path.startswith(folder):
            if re.search(rf"\b{member} = ", text):
                yield f"{path}: sets {member} by hand; {home} moves it"
            moves = len(re.findall(rf"\bSL_MOVE\(\w+, {member},", text))
            if moves != (path == home and member in text):
                yield f"{path}: moves {member} in {moves} places; the one is in {home}"


def check_tree(root):
    """The complaints about the sources."""
    graph = {}
    for path in sources(root):
        text = (root / path).read_text(encoding="utf-8")
        if room_of(path) is None:
            yield f"{path}: is in no room that is known here"
            continue
        if text.count("\n") > MAX_LINES:
            yield f"{path}: has {text.count(chr(10))} lines; {MAX_LINES} is the most"
        if not text.startswith(LICENCE):
            yield f"{path}: does not begin with {LICENCE}"
        for match in UNFINISHED.finditer(text):
            yield f"{path}: says {match.group(1)}"
        yield from check_states(path, text)
        graph[path] = []
        for kind, name in INCLUDE.findall(text):
            exists = (root / name).is_file()
            if not exists and room_of(path) == "tests" and (root / path).parent.joinpath(name).is_file():
                continue  # what a folder of tests shares among its own
            yield from check_include(path, kind, name, exists)
            if kind == '"' and exists:
                graph[path].append(name)
    for circle in circles(graph):
        yield f"circle of includes: {' -> '.join(circle)}"


def line_of(text, match):
    return text.count("\n", 0, match.start()) + 1


def check_comments(root):
    """The complaints about comments that name a file or a function which is not there (any more), or another file's."""
    texts = {path: (root / path).read_text(encoding="utf-8") for path in sources(root)}
    code = set(re.findall(r"\w+", " ".join(COMMENT.sub(" ", text) for text in texts.values())))
    for path, text in texts.items():
        for comment in COMMENT.finditer(text):
            line = line_of(text, comment)
            for name in NAMED_FILE.findall(comment.group()):
                if not any(fnmatch.fnmatch(f"/{other}", f"*/{name}") for other in texts):
                    yield f"{path}:{line}: a comment names {name}, which is no file here"
            for name in NAMED_FUNCTION.findall(comment.group()):
                if name not in code:
                    yield f"{path}:{line}: a comment names {name}(), which is no function here"
    homes = {}
    for path in texts:
        for name in DEFINED.findall(texts[path]) if path.endswith(".c") else ():
            homes.setdefault(name, set()).add(f"/{path}")
    for path in texts:
        for section in SECTION.finditer(texts[path]) if path.endswith(".h") else ():
            for name in DECLARED.findall(section.group()):
                if name in homes and not any(home.endswith(f"/{section.group(1)}") for home in homes[name]):
                    yield f"{path}: declares {name}() under {section.group(1)}, which does not define it"


def documents(root):
    """Every Markdown file of ours."""
    for path in sorted(root.glob("*.md")):
        yield path
    for folder in FOLDERS:
        yield from sorted((root / folder).rglob("*.md"))


def check_documents(root):
    """The complaints about documents that name a path, a C file or a function which is not there (any more)."""
    places = [root, root / "daemon", *(root / "daemon").glob("ssh"), *(root / "daemon").glob("front")]
    rooms = {*FOLDERS, *(path.name for place in places[1:] for path in place.glob("*/"))}
    names = {path.rpartition("/")[2] for path in sources(root)}
    code = {word for path in sources(root) for word in OUR_FUNCTION.findall((root / path).read_text(encoding="utf-8"))}
    for document in documents(root):
        text, where = document.read_text(encoding="utf-8"), document.relative_to(root)
        for match in NAMED_PATH.finditer(text):
            name = PLACEHOLDER.sub("*", match.group().rstrip(".-"))
            near = [document.parent, *places]
            if name.partition("/")[0] in rooms and not any(
                any(place.glob(name + suffix)) for place in near for suffix in ("", ".[ch]")
            ):
                yield f"{where}:{line_of(text, match)}: names {match.group()}, which is not in the tree"
        for match in NAMED_FILE.finditer(text):
            name = PLACEHOLDER.sub("*", match.group().rpartition("/")[2])
            if not fnmatch.filter(names, name):
                yield f"{where}:{line_of(text, match)}: names {match.group()}, which is no file here"
        for match in OUR_FUNCTION.finditer(text):
            if match.group() not in code:
                yield f"{where}:{line_of(text, match)}: names {match.group()}), which is no function here"


def nm(archive, *options):
    """(type, name) of every symbol."""
    text = subprocess.run(["nm", *options, str(archive)], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and len(words[-2]) == 1:
            yield words[-2], words[-1]


def objects(root, build):
    """(path of the source, its object) of every file of ours but the tests; what is left of a deleted file is not."""
    for path in sorted(build.rglob("*.c.o")):
        folder, marker, rest = path.relative_to(build).as_posix().partition("/CMakeFiles/")
        source = f"{folder}/{rest.partition('/')[2][:-2]}"
        if marker and not source.startswith("tests/") and room_of(source) and (root / source).is_file():
            yield source, path


def check_calls(root, build):
    """The complaints about files that take functions and data from each other in a circle."""
    needed, home = {}, {}
    for source, path in objects(root, build):
        symbols = list(nm(path, "--extern-only"))
        needed.setdefault(source, set()).update(name for kind, name in symbols if kind == "U")
        home.update((name, source) for kind, name in symbols if kind in "TDRBVW" and not re.match("_|main$", name))
    graph = {source: sorted({home[name] for name in names & home.keys()} - {source}) for source, names in needed.items()}
    for circle in circles(graph):
        yield f"circle of calls: {' -> '.join(circle)}"


def globals_of(archive):
    """Names of the variables that can change: those in .data, .bss and their thread-local kin, but not .data.rel.ro."""
    text = subprocess.run(["objdump", "-t", str(archive)], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        match = re.match(r"[0-9a-f]+ .{7} (\S+)\t[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
        if match and re.fullmatch(r"\.(data|bss|tdata|tbss)(\.(?!rel\.ro).*)?|\*COM\*", match.group(1)):
            if match.group(2) != match.group(1) and not re.match(r"\.|__|_?\*?\.?L", match.group(2)):
                yield match.group(2)


def check_objects(build):
    """The complaints about what the built archives import and hold, and what the shared library exports."""
    archives = {path.name[3:-2]: path for path in sorted((build / "lib").glob("libsl_*.a"))}
    defined = {name: {s for t, s in nm(path) if t in "TDRBVWdrb"} for name, path in archives.items()}
    for name, friends in PURE_ROOMS.items():
        if name in archives:
            friendly = set().union(*(defined.get(friend, set()) for friend in friends))
            for _, symbol in sorted(set(nm(archives[name], "--undefined-only"))):
                if symbol not in friendly and symbol not in PURE_IMPORTS and not TOOL_IMPORTS.match(symbol):
                    yield f"{archives[name].name}: imports {symbol}, which is not pure"
    for path in archives.values():
        for symbol in globals_of(path):
            yield f"{path.name}: has the mutable global {symbol}"
    for path in sorted((build / "lib").glob("libsshlease.so")):
        for kind, symbol in nm(path, "--dynamic", "--defined-only"):
            if kind != "A" and not symbol.startswith("sshlease_"):
                yield f"{path.name}: exports {symbol}"


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    root = pathlib.Path(arguments[0])
    complaints = [*check_tree(root), *check_comments(root), *check_documents(root)]
    if len(arguments) == 2:
        complaints += check_objects(pathlib.Path(arguments[1]))
        complaints += check_calls(root, pathlib.Path(arguments[1]))
    for complaint in complaints:
        print(complaint)
    print(f"structure: {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
