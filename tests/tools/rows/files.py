# SPDX-License-Identifier: MIT
"""Files there and back."""

from row import Row

SFTP = """
mkdir {far}/made
put -p {fix}/mid {far}/made/mid
put -r {fix}/tree {far}/made/
ls -1 {far}/made
rename {far}/made/mid {far}/renamed
symlink renamed {far}/link
chmod 640 {far}/renamed
get {far}/renamed got
get -r {far}/made/tree tree
rm {far}/link
df {far}
"""

ROWS = [
    Row("scp there", "scp -q -p $FIX/mid t:$FAR/mid && scp -q $FIX/tree/*.txt t:$FAR/", short=True),
    Row("scp back, with a pattern", "scp -q \"t:$FIX/tree/1/*.txt\" . && scp -q \"t:$FIX/mid\" .", short=True),
    Row("scp -r both ways", "scp -qr $FIX/tree t:$FAR/ && scp -qr t:$FAR/tree back"),
    Row("scp -O both ways", "scp -qO $FIX/mid t:$FAR/mid && scp -qO t:$FAR/mid mid", short=True),
    Row("scp -O -r", "scp -qOrp $FIX/tree t:$FAR/ && scp -qOr t:$FAR/tree back"),
    Row("scp -3", "scp -q3 t:$FIX/mid u:$FAR/mid", hosts=("t", "u")),
    Row("scp -3 -O -r", "scp -q3Or t:$FIX/tree u:$FAR/tree", hosts=("t", "u")),
    Row("scp of what there is not", "scp -q t:/nothing/there . 2>/dev/null; echo $?; scp -qO t:/nothing/there . 2>/dev/null; echo $?",
        output="1\n1\n"),
    Row("sftp -b", 'sftp -q -b - t <<END 2>&1 | grep -v "^sftp>\\|%"' + SFTP.replace("{far}", "$FAR").replace("{fix}", "$FIX") + "END",
        output="mid\n", short=True),
    Row("sftp -b, an error ends it", "printf 'get /nothing\\nput $FIX/mid $FAR/mid\\n' | sftp -q -b - t >/dev/null 2>&1", status=1),
    Row("sftp of a URI", "sftp -q sftp://t/$FIX/mid here >/dev/null 2>&1"),
    Row("rsync there", "rsync -a $FIX/tree/ t:$FAR/tree/ && rsync -ai $FIX/tree/ t:$FAR/tree/", needs=("rsync",), short=True),
    Row("rsync back", "rsync -a t:$FIX/tree/ tree/ && rsync -ain t:$FIX/tree/ tree/", needs=("rsync",), short=True),
    Row("rsync --delete", "rsync -a $FIX/tree/ t:$FAR/tree/ && rsync -ai --delete $FIX/tree/1/ t:$FAR/tree/ | sort", needs=("rsync",),
        output="deleting"),
    Row("rsync of a large file, changed", """
rsync $FIX/mid t:$FAR/mid; cp $FIX/mid mid; printf changed | dd of=mid bs=1 seek=4000000 conv=notrunc status=none
rsync --no-whole-file --checksum mid t:$FAR/mid""", needs=("rsync",)),
    Row("rsync -z --info=stats", "rsync -az --stats $FIX/tree t:$FAR/ | grep 'Number of files'", needs=("rsync",), output="Number of files"),
    Row("rsync of what there is not", "rsync -a t:/nothing/there . 2>/dev/null", needs=("rsync",), status=23),
    Row("rsync, interrupted and run again", """
rsync --partial --bwlimit=4000 $FIX/mid t:$FAR/mid 2>/dev/null & sleep 0.8; kill -INT $!; wait $!; echo $?
rsync --partial $FIX/mid t:$FAR/mid; echo $?; sleep 2; cmp $FIX/mid $FAR/mid && echo equal""", needs=("rsync",), output="20\n0\nequal"),
    Row("rsync until it is done", """
n=0; until timeout -s INT 0.6 rsync --partial --bwlimit=6000 $FIX/mid t:$FAR/mid 2>/dev/null; do ((++n < 40)) || break; done
cmp $FIX/mid $FAR/mid && echo equal""", needs=("rsync",), output="equal"),
    Row("sshfs", """
mkdir m && sshfs t:$FIX m && diff -r $FIX m && ls m/tree | wc -l; fusermount3 -u m; echo $?
sshfs t:$FAR m && cp -r $FIX/tree m/ && mv m/tree/1 m/moved && rm m/tree/empty && echo more >>m/tree/run.sh
fusermount3 -u m; echo $?; rmdir m""", needs=("sshfs", "diff"), output="0\n0\n"),
    Row("lftp mirror", """
rc="set sftp:connect-program 'ssh -a -x'; set sftp:auto-confirm yes; set net:max-retries 2"
lftp -c "$rc; open -u $ACCOUNT,x sftp://t; mirror -R $FIX/tree $FAR/tree; mirror $FAR/tree back" >/dev/null""", needs=("lftp",)),
]
