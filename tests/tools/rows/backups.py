# SPDX-License-Identifier: MIT
"""Back-ups, and what keeps two trees alike. Their repositories are in $STORE, which is not compared: what comes back is."""

from row import Row

BORG = "export BORG_PASSPHRASE=x BORG_RELOCATED_REPO_ACCESS_IS_OK=yes BORG_REPO=ssh://t$STORE/borg\n"
RESTIC = "export RESTIC_PASSWORD=x RESTIC_REPOSITORY=sftp:t:$STORE/restic\n"

ROWS = [
    Row("borg", BORG + """
borg init -e repokey && borg create ::one $FIX/tree && borg create ::two $FIX && borg check --verify-data && borg delete ::one
borg list --short; borg extract ::two; echo $?""", needs=("borg",), output="two\n0\n", timeout=120),
    Row("borg, interrupted and run again", BORG + """
borg init -e none; timeout -s INT 1.5 borg create --upload-ratelimit 2000 ::one $FIX/mid 2>/dev/null
borg create ::two $FIX/mid && borg check && borg list --short | tail -1; borg extract ::two; echo $?""", needs=("borg",),
        output="two\n0\n", timeout=120),
    Row("restic over sftp", RESTIC + """
restic -q init && restic -q backup $FIX && restic -q check --read-data && restic -q restore latest --target . ; echo $?
restic snapshots --json | grep -o '"short_id"' | wc -l""", needs=("restic",), output="0\n1\n", timeout=120),
    Row("rdiff-backup", """
rdiff-backup backup $FIX/tree t::$STORE/rdiff && rdiff-backup restore t::$STORE/rdiff back; echo $?
rdiff-backup list increments t::$STORE/rdiff | wc -l""", needs=("rdiff-backup",), output="0\n", timeout=120),
    Row("unison", """
cp -r $FIX/tree here; unison -batch -silent here ssh://t/$FAR/there >/dev/null 2>&1 && echo new >here/new && rm $FAR/there/run.sh
unison -batch -silent here ssh://t/$FAR/there; echo $?; diff --no-dereference -r here $FAR/there && echo alike""", needs=("unison",), output="0\nalike"),
]
