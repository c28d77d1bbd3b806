# SPDX-License-Identifier: MIT
"""Tunnels, jumps, and what keeps them up."""

from row import Differs, Row

ALWAYS = "A forward that cannot be had (both loopback addresses, unless one is named) always ends `ssh`"
NO_SOCKET, NO_SOCKS = "`-R` on a Unix socket of the server", "`-R` without a destination"
GET = "curl -sS --retry 9 --retry-connrefused --max-time 20"


def through(flags, fetch, more=""):
    """In the background by itself, as scripts have it."""
    return f"{flags} </dev/null >/dev/null; echo $?; {GET} {fetch} | sha256sum{more}"


def held(flags, fetch, end="kill $pid"):
    """In the background by the shell, and ended."""
    return f"""
{flags} & pid=$!
await listens $PORT; {GET} {fetch} | sha256sum
{end}; wait $pid
for i in {{1..150}}; do listens $PORT || break; sleep 0.02; done; listens $PORT && echo still there || echo over"""


LOCAL, REMOTE = "-L $PORT:127.0.0.1:$HTTP", "-R $PORT:127.0.0.1:$HTTP"
FETCH, SOCKS = "http://127.0.0.1:$PORT/mid", "--socks5-hostname 127.0.0.1:$PORT http://127.0.0.1:$HTTP/mid"
GOOD = "0\n(?!e3b0c442)"  # not the digest of nothing
OVER = "^(?!e3b0c442).*over\n"

ROWS = [
    Row("ssh -fN -L", through(f"ssh -f -N {LOCAL} t", FETCH), needs=("curl",), output=GOOD, short=True),
    Row("ssh -fN -D", through("ssh -fN -D $PORT t", SOCKS), needs=("curl",), output=GOOD, short=True),
    Row("ssh -fN -R", through(f"ssh -fNT -o ExitOnForwardFailure=yes {REMOTE} t", FETCH), needs=("curl",), output=GOOD, short=True),
    Row("ssh -N -L", held(f"ssh -N {LOCAL} t", FETCH), needs=("curl",), output=OVER, short=True),
    Row("ssh -nNT -L", held(f"ssh -nNT {LOCAL} t", FETCH, "kill -HUP $pid"), needs=("curl",), output=OVER),
    Row("ssh -N -D", held("ssh -N -D $PORT t", SOCKS), needs=("curl",), output=OVER),
    Row("ssh -N -R", held(f"ssh -N {REMOTE} t", FETCH), needs=("curl",), output=OVER),
    Row("ssh -L and a command", f"""
ssh {LOCAL} t 'sleep 1; exit 6' & await listens $PORT; {GET} {FETCH} | sha256sum; wait $!; echo $?""", needs=("curl",),
        output="6\n$", short=True),
    Row("the status of a killed ssh -N", """
ssh -N -D $PORT t & await listens $PORT; kill $!; wait $!; echo $?""", output="0\n",
        differs=Differs("its status is 255 then, plain ssh's 0", output="255\n")),
    Row("ssh -L on both loopbacks", f"ssh -fN {LOCAL} t; {GET} http://[::1]:$PORT/mid | sha256sum", needs=("curl",),
        output="^(?!e3b0c442)"),
    Row("the port is taken on one of them", "ssh -fN -L $HTTP:127.0.0.1:1 t 2>/dev/null; echo $?; ssh -n t true", output="0\n",
        differs=Differs(ALWAYS, output="255\n")),
    Row("ssh -L of a Unix socket", held("ssh -N -L $OUT/sock:127.0.0.1:$HTTP t", "--unix-socket $OUT/sock http://x/mid")
        .replace("await listens $PORT", "await test -S $OUT/sock").replace("wait $pid", "wait $pid; rm -f $OUT/sock"),
        needs=("curl",), output=OVER),
    Row("ten through one tunnel at once", f"""
ssh -N {LOCAL} t & await listens $PORT
for i in {{1..10}}; do {GET} {FETCH} | sha256sum & done | sort -u; kill %1; true""", needs=("curl",), output="^(?!e3b0c442)[^\n]*\n$"),
    Row("ssh -fN, the port is taken", "ssh -fN -o ExitOnForwardFailure=yes -L 127.0.0.1:$HTTP:127.0.0.1:1 t 2>/dev/null; echo $?; ssh -n t true",
        output="255\n", short=True),
    Row("the same without ExitOnForwardFailure", "ssh -L 127.0.0.1:$HTTP:127.0.0.1:1 t 'echo on' 2>/dev/null; echo $?; ssh -n t true",
        output="on\n0\n", differs=Differs(ALWAYS, output="255\n")),
    Row("nobody at the far end", f"ssh -fN -L $PORT:127.0.0.1:1 t; {GET} -s {FETCH}; echo $? | sed s/52/56/", needs=("curl",), output="5[26]\n"),
    Row("ssh -R, a port of the server's choice", f"""
ssh -N -v -R 0:127.0.0.1:$HTTP t 2>$STORE/err & for i in {{1..150}}; do grep -qs Allocated $STORE/err && break; sleep 0.02; done
PORT=$(sed -n 's/.*Allocated port \\([0-9]*\\) .*/\\1/p' $STORE/err); {GET} {FETCH} | sha256sum; kill %1; true""", needs=("curl",),
        output="^(?!e3b0c442)[^\n]*\n$"),
    Row("ssh -R on a Unix socket", """
ssh -N -o ExitOnForwardFailure=yes -R $FAR/sock:127.0.0.1:$HTTP t 2>/dev/null & pid=$!
for i in {1..100}; do test -S $FAR/sock || gone $pid && break; sleep 0.02; done
curl -s --unix-socket $FAR/sock http://x/mid | wc -c; kill $pid; rm -f $FAR/sock; ssh -n t true""", needs=("curl",), output="8388608",
        differs=Differs(NO_SOCKET, output="0\n", files=True)),
    Row("ssh -R without a destination", f"""
ssh -N -o ExitOnForwardFailure=yes -R $PORT t 2>/dev/null & pid=$!
for i in {{1..100}}; do listens $PORT || gone $pid && break; sleep 0.02; done
curl -s {SOCKS} | wc -c; kill $pid; ssh -n t true""", needs=("curl",), output="8388608", differs=Differs(NO_SOCKS, output="0\n")),
    Row("ssh -W", r"printf 'GET /mid HTTP/1.0\r\n\r\n' | ssh -W 127.0.0.1:$HTTP t | body", output="^(?!e3b0c442)", short=True),
    Row("ssh -J through it", "ssh -J t behind 'cat; exit 3' <$FIX/mid | sha256sum; echo ${PIPESTATUS[0]}", output="3\n$", short=True),
    Row("ssh -J between two of them", "ssh -n -J t u 'echo there; exit 3'", hosts=("t", "u"), status=3, output="there"),
    Row("ProxyCommand with -W", "ssh -o 'ProxyCommand ssh -W %h:%p t' behind 'cat; exit 3' <$FIX/mid | sha256sum; echo ${PIPESTATUS[0]}",
        output="3\n$"),
    Row("scp through a jump", "scp -q -J t $FIX/mid behind:$FAR/mid"),
    Row("rsync through a jump", "rsync -a -e 'ssh -J t' $FIX/tree/ behind:$FAR/tree/", needs=("rsync",)),
    Row("autossh", held(f"AUTOSSH_PATH=$SSHLEASE_TOOLS_BIN/ssh autossh -M 0 -N {LOCAL} t", FETCH),
        needs=("autossh", "curl"), output=OVER),
    Row("autossh after its ssh was killed", f"""
TRIES=400
AUTOSSH_PATH=$SSHLEASE_TOOLS_BIN/ssh AUTOSSH_GATETIME=0 autossh -M 0 -N {LOCAL} t & pid=$!
await listens $PORT; kill -KILL $(cat /proc/$pid/task/$pid/children); await eval '! listens $PORT'
await listens $PORT; {GET} {FETCH} | sha256sum; kill $pid""", needs=("autossh", "curl"), output="^(?!e3b0c442)[^\n]*\n$"),
]
