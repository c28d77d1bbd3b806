# SPDX-License-Identifier: MIT
"""ssh itself, in scripts: statuses, standard input, variables, the background, terminals."""

from row import Differs, Row

RECLAIM = "**Reclaim.** Kill `ssh`, and its remote command is ended"

ROWS = [
    Row("exit statuses", """
for command in 'exit 0' 'exit 7' no-such-program 'exit 255' 'kill -TERM $$' 'kill -KILL $$'; do
  ssh t "$command" 2>/dev/null; echo "$command: $?"
done""", output="exit 7: 7\n.*: 127\n.*255: 255\n", short=True),
    Row("words, quotes and a here-document", """
ssh t echo 'a  b' "'c  d'" '$HOME' | sed "s,$STORE,,"
ssh t bash -s one 'two words' <<'END'
echo "$# $2"; exit 3
END
echo $?""", output="a b c  d /home\n", short=True),
    Row("output and errors apart", "ssh t 'echo out; echo err >&2; exit 5' >out 2>err", status=5, short=True),
    Row("standard input there, output back", 'ssh t sha256sum <$FIX/mid; ssh t "cat $FIX/mid" | sha256sum', short=True),
    Row("while read swallows its input", r"printf '1\n2\n3\n' | while read -r x; do ssh t \"cat; echo $x\"; done".replace('\\"', '"'),
        output="2\n3\n1\n$", short=True),
    Row("while read with ssh -n", r"""printf '1\n2\n3\n' | while read -r x; do ssh -n t "cat; echo $x"; done""",
        output="1\n2\n3\n$", short=True),
    Row("what is left of a shared input", r"""printf 'ab\ncd\n' | { ssh t 'head -c 2'; echo; cat; }""", short=True),
    Row("closed standard input and output", """
ssh t 'cat; echo out; exit 5' <&-; echo $?
ssh t 'echo out; echo err >&2; exit 6' >&- 2>err; echo $?""", output="out\n5\n6\n", short=True),
    Row("a login shell fed by a script", "ssh -T t <<<'echo in a shell; exit 3'", status=3, output="in a shell", short=True),
    Row("a long command", 'ssh t "echo $(head -c 30000 /dev/zero | tr \'\\0\' x) | wc -c"', output="30001"),
    Row("a longer command", 'ssh t "echo $(head -c 100000 /dev/zero | tr \'\\0\' x) | wc -c"', output="100001"),
    Row("a variable that the server takes", "LC_ROW=there ssh -o SendEnv=LC_* d 'echo [$LC_ROW]'", hosts=("d",),
        output="there", short=True),
    Row("a variable that it refuses", "LC_ROW=there LANG=C ssh -o 'SendEnv=LANG LC_*' t 'echo [$LC_ROW]'", output=r"\[\]", short=True),
    Row("SetEnv", "ssh -o SetEnv=LC_ROW=set d 'echo [$LC_ROW]'", hosts=("d",), output="set"),
    Row("thirty in a row", "for i in {1..30}; do ssh -n t \"echo $i; exit $((i % 3))\"; echo $?; done | sha256sum"),
    Row("twelve at once", "for i in {1..12}; do ssh -n t \"echo $i; exit $i\" & done | sort -n; wait", output="1\n2\n3\n.*12\n",
        short=True),
    Row("a job that holds the output", "ssh t 'sleep 1 & echo started'; ssh t 'sleep 30 >/dev/null 2>&1 </dev/null & echo off'",
        output="started\noff\n"),
    Row("nohup lives on", """
ssh t "nohup sleep 300 >/dev/null 2>&1 & echo \\$! >$STORE/pid"
sleep 1; kill -0 $(cat $STORE/pid) && echo lives""", output="lives", short=True),
    Row("ssh -f and a command", """
ssh -f t "sleep 0.3; echo done >$FAR/done"; echo $?
await test -s $FAR/done""", output="0\n"),
    Row("an ssh that is killed by timeout", """
timeout 1 ssh t "echo \\$\\$ >$STORE/pid; exec sleep 300"; echo $?
for i in {1..200}; do gone $(cat $STORE/pid) && break; sleep 0.02; done
gone $(cat $STORE/pid) && echo gone || echo left""", output="124\nleft",
        differs=Differs(RECLAIM, output="124\ngone\n", better=True)),
    Row("an ssh that is interrupted", """
ssh t "echo \\$\\$ >$STORE/pid; exec sleep 300" & await test -s $STORE/pid; kill -HUP $!; wait $!; echo $?
for i in {1..200}; do gone $(cat $STORE/pid) && break; sleep 0.02; done
gone $(cat $STORE/pid) && echo gone || echo left""", output="left",
        differs=Differs(RECLAIM, output="255\ngone\n", better=True)),
    Row("ssh -tt", "ssh -tt t 'test -t 0 && test -t 1 && echo terminal; exit 3' | od -c", output="t   e   r   m", short=True),
    Row("ssh -tt and a login shell", "printf 'stty -echo\\nexit 4\\n' | ssh -tt t >/dev/null", status=4),
    Row("a terminal of a size", """
script -qec 'stty rows 31 cols 87; ssh -t t stty size' typescript >/dev/null; grep -o "31 87" typescript; rm typescript""",
        needs=("script",), output="31 87"),
    Row("a subsystem", "{ printf '\\0\\0\\0\\5\\1\\0\\0\\0\\3'; sleep 0.5; } | ssh -s t sftp | head -c 9 | od -c", output=r"002"),
    Row("ssh -G, -V, -Q", "ssh -G t >/dev/null && ssh -V 2>&1 && ssh -Q cipher | head -1; ssh -n t true", output="OpenSSH"),
    Row("a host that there is not", "ssh -n nowhere.invalid true 2>/dev/null; echo $?; ssh -n t true", output="255"),
    Row("ssh -v tells of what it does", "ssh -v t true 2>&1 | grep -c 'debug1: ' | sed 's/.*/some/'", output="some"),
    Row("twenty MB back at half speed", """
ssh t 'head -c 20000000 /dev/zero' | { sleep 1; head -c 5000000; sleep 1; cat; } | wc -c""", output="20000000"),
    Row("-O forward -R, a port of the server's choice", """
port=$(ssh -O forward -R 0:127.0.0.1:$HTTP t); curl -sS http://127.0.0.1:$port/mid | sha256sum""", needs=("curl",),
        standard="master", output="^(?!e3b0c442)"),
    Row("-O check, forward, cancel, exit", """
ssh -O check t 2>&1 | sed 's/[0-9]\\+/N/'
ssh -O forward -L $PORT:127.0.0.1:$HTTP t; echo $?
curl -sS http://127.0.0.1:$PORT/mid | sha256sum
ssh -O cancel -L $PORT:127.0.0.1:$HTTP t; echo $?
curl -s http://127.0.0.1:$PORT/mid; echo $?
ssh -O exit t 2>/dev/null; echo $?
ssh t 'echo again'""", needs=("curl",), standard="master", output="Master running .pid=N.", short=True),
]
