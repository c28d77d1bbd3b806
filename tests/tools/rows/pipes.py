# SPDX-License-Identifier: MIT
"""Pipelines in which somebody stops reading, or writing."""

from row import Differs, Row

UNREAD = "**Output that nobody reads**"

ROWS = [
    Row("the script goes on after head", """
ssh t "yes | head -c 3000000; sleep 0.3; echo done >$FAR/done; exit 7" | head -1; echo ${PIPESTATUS[0]}""",
        output="y\n7\n", short=True),
    Row("grep -q", 'set -o pipefail; ssh t "seq 1 1000000; touch $FAR/done" | grep -q 5', short=True),
    Row("a writer without an end", "ssh t 'yes; echo after >&2; exit 7' 2>/dev/null | head -1; echo ${PIPESTATUS[0]}", output="y\n7\n",
        differs=Differs(UNREAD, output="y\n255\n"), short=True),
    Row("cat of a file and head", "ssh t \"cat $FIX/mid\" | head -c 1000 | sha256sum; echo ${PIPESTATUS[0]}",
        output="255\n$", differs=Differs(UNREAD, output=".*  -\n0\n")),
    Row("a writer that is closed before it writes", "ssh t 'sleep 0.5; echo late; exit 4' | true; echo ${PIPESTATUS[0]}", output="4"),
    Row("tee and head", "ssh t 'seq 1 5; exit 2' | tee all | head -2; echo ${PIPESTATUS[0]}", output="1\n2\n2\n"),
    Row("input that the command does not read", "head -c 5000000 /dev/zero | ssh t 'exec true'; echo ${PIPESTATUS[*]}", output=" 0\n"),
    Row("input that it stops to read", "cat $FIX/mid | ssh t 'head -c 100000 | sha256sum'", short=True),
    Row("a command between two of ours", "seq 1 100000 | ssh t sort -rn | ssh u head -3", hosts=("t", "u"),
        output="100000\n99999\n99998\n", short=True),
    Row("tar there", 'tar -C $FIX -cf - tree | ssh t "tar -C $FAR -xf -"', short=True),
    Row("tar back", 'ssh t "tar -C $FIX -cf - tree" | tar -xf -', short=True),
    Row("tar there and back", """
tar -C $FIX -cf - tree | ssh t "cat >$STORE/a.tar; tar -cf - -C $STORE a.tar" | tar -xOf - a.tar | tar -t | wc -l"""),
    Row("tar, ssh, tar, head", 'tar -C $FIX -cf - tree | ssh t "tar -tvf -" | head -3 | wc -l; echo ${PIPESTATUS[1]}', output="3\n0\n"),
    Row("tar from one host to another", 'ssh t "tar -C $FIX -czf - tree" | ssh u "tar -C $FAR -xzf -"', hosts=("t", "u")),
    Row("dd of a device", "dd if=/dev/zero bs=1M count=20 status=none | ssh t 'dd bs=64k status=none' | wc -c", output="20971520"),
    Row("process substitution", "diff <(ssh t seq 1 2000) <(ssh u seq 2 2001)", hosts=("t", "u"), status=1, output="> 2001", short=True),
    Row("a coprocess, line by line", """
coproc far { ssh t 'while read -r line; do echo "<$line>"; done; exit 9'; }
for i in {1..50}; do echo $i >&${far[1]}; read -r line <&${far[0]}; echo "$line"; done
pid=$far_PID; eval "exec ${far[1]}>&-"; wait $pid; echo $?""", output="<1>\n.*<50>\n9\n"),
]
