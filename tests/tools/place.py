# SPDX-License-Identifier: MIT
"""Where the rows run: servers with their names, files to be moved about, directories that each run finds empty."""

import functools
import hashlib
import http.server
import os
import random
import shutil
import stat
import subprocess
import tempfile
import threading

import here  # first: it knows where the modules of the system tests are
import ways
from sshd import Keys, Sshd, free_port

MIB = 1 << 20
MANY = [f"n{i}" for i in range(1, 9)]


class Servers:
    """t, u: upstream's defaults; d: with Debian's AcceptEnv; root: logs in root; n1 to n8: other names of t; `behind`, which is
    no target and has no master: reached through one, by -J or a ProxyCommand."""

    def __init__(self, keys, account, directory):
        self.keys, self.dir = keys, directory
        # The far side's home is the row's, so that nothing is left in the account's.
        home = [f"SetEnv SHLVL=2 HOME={directory}/store/home"]
        make = functools.partial(Sshd, keys, account, home, accept_env="")
        self.of = {"t": make(), "u": make(), "d": Sshd(keys, account, home)}
        if os.geteuid() == 0:
            self.of["root"] = make(root=True)
        self.of |= {name: self.of["t"] for name in MANY}
        self.hidden = make()

    def every(self):
        return {id(server): server for server in [*self.of.values(), self.hidden]}.values()

    def names(self):
        return list(self.of)

    def _known_hosts(self, server):
        path = os.path.join(self.dir, f"known_hosts.{server.port}")
        ways.write(path, server.known_hosts_line())
        return path

    def target(self, name):
        server = self.of[name]
        return {"host": server.host, "port": server.port, "user": server.user, "identity_file": self.keys.ed25519,
                "user_known_hosts_file": self._known_hosts(server)}

    def _block(self, name, server):
        return (f"Host {name}\n HostName {server.host}\n Port {server.port}\n User {server.user}\n"
                f" UserKnownHostsFile {self._known_hosts(server)}\n")

    def behind(self):
        return self._block("behind", self.hidden) + " ControlPath none\n"

    def common(self):
        return ("".join(self._block(name, server) for name, server in self.of.items())
                + f"Match all\n IdentityFile {self.keys.ed25519}\n IdentitiesOnly yes\n IdentityAgent none\n"
                " GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n LogLevel ERROR\n")

    def logins(self):
        return sum(1 for server in self.every() for _ in server.log.matches(r"^Accepted publickey"))

    def stop(self):
        for server in self.every():
            server.stop()


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def digest_of(path):
    """One line for each file below: kind, rights, size, contents."""
    found = []
    for top, directories, files in os.walk(path):
        for name in sorted([*directories, *files]):
            one = os.path.join(top, name)
            seen = os.lstat(one)
            what = f"{stat.filemode(seen.st_mode)}"
            if stat.S_ISLNK(seen.st_mode):
                what += f" {os.readlink(one)}"
            elif stat.S_ISREG(seen.st_mode):
                with open(one, "rb") as f:
                    what += f" {seen.st_size} {hashlib.file_digest(f, 'sha256').hexdigest()[:16]}"
            found.append(f"{os.path.relpath(one, path)} {what}")
    return sorted(found)


class Place:
    """Directories by the name of a script's variable: FIX, what is copied, read only; OUT, the working directory, and FAR,
    on the far side: both compared; STORE, on the far side, and HOME, here: not compared."""

    def __init__(self, account):
        self.account = account
        self.dir = tempfile.mkdtemp(prefix="sshlease-rows.")
        os.chmod(self.dir, 0o755)
        self.mark = os.path.basename(self.dir)
        os.mkdir(f"{self.dir}/keys")
        self.keys = Keys(f"{self.dir}/keys")
        ways.write_wrappers(f"{self.dir}/bin")
        self._fill(f"{self.dir}/fix")
        self.clear()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=f"{self.dir}/fix"))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def _fill(self, fix):
        """The same in every run: 300 small files, one of 8 MiB, names as people have them."""
        some = random.Random(8)
        for i in range(300):
            os.makedirs(f"{fix}/tree/{i % 12}", exist_ok=True)
            ways.write(f"{fix}/tree/{i % 12}/{i}.txt", f"{i} of 300\n" * some.randrange(1, 200), 0o600 if i % 50 == 0 else 0o644)
        ways.write(f"{fix}/tree/a name with blanks & 'quotes'.txt", "blanks\n")
        ways.write(f"{fix}/tree/ünïcode.txt", "unicode\n")
        ways.write(f"{fix}/tree/run.sh", "#!/bin/sh\necho run\n", 0o755)
        ways.write(f"{fix}/tree/empty", "")
        os.symlink("run.sh", f"{fix}/tree/link")
        with open(f"{fix}/mid", "wb") as f:
            f.write(some.randbytes(8 * MIB))
        os.chmod(f"{fix}/mid", 0o644)
        # The far side's account reads it, too.
        for top, directories, files in os.walk(fix):
            for name in [".", *directories, *files]:
                os.chown(os.path.join(top, name), self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def clear(self):
        for name in ("out", "far", "store", "home"):
            shutil.rmtree(f"{self.dir}/{name}", ignore_errors=True)
            os.mkdir(f"{self.dir}/{name}")
        os.mkdir(f"{self.dir}/store/home")
        for name in ("far", "store", "store/home"):
            os.chown(f"{self.dir}/{name}", self.account.pw_uid, self.account.pw_gid)

    def unmount(self):
        """What a row has mounted and left."""
        with open("/proc/self/mounts", encoding="utf-8") as f:
            mounted = [line.split()[1] for line in f if line.split()[1].startswith(f"{self.dir}/")]
        for one in mounted:
            subprocess.run(["fusermount3", "-u", "-z", one], check=False)

    def env(self, way):
        theirs = ("SSH", "XDG_", "GIT_", "ANSIBLE_", "LC_", "TMUX", "BORG_", "RESTIC_", "PDSH_", "LESS", "LS_", "MAIL")
        env = {k: v for k, v in os.environ.items() if not k.startswith(theirs)}
        return {**env, "HOME": f"{self.dir}/home", "LANG": "C.UTF-8", "TERM": "dumb", "PATH": f"{self.dir}/bin:{env['PATH']}",
                "SSHLEASE_TOOLS_BIN": f"{self.dir}/bin", **way.env()}

    def row_env(self, way):
        """Fresh ports each time: a forward that outlives its ssh is nobody else's trouble."""
        names = {name.upper(): f"{self.dir}/{name}" for name in ("out", "far", "store", "fix")}
        return {**self.env(way), **names, ways.MARK: self.mark, "HTTP": str(self.http.server_port), "PORT": str(free_port()),
                "PORT2": str(free_port()), "ACCOUNT": self.account.pw_name}

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        shutil.rmtree(self.dir, ignore_errors=True)
