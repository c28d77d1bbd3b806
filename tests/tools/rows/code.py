# SPDX-License-Identifier: MIT
"""Version control."""

from row import Row

GIT = """
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
export GIT_AUTHOR_DATE=1700000000+0000 GIT_COMMITTER_DATE=1700000000+0000
git config --global init.defaultBranch main; git config --global advice.detachedHead false
"""
FAR_GIT = 'ssh -n t "git init -q --bare -b main $STORE/r.git"\n'
FIRST = "git init -q first; cd first; cp -r $FIX/tree .; git add .; git commit -qm one\n"
FAR_HG = 'ssh -n t "hg init $STORE/hg"\n'
FAR_SVN = 'ssh -n t "svnadmin create $STORE/svn"\n'

ROWS = [
    Row("git push, clone, fetch", GIT + FIRST + """
git push -q t:$STORE/r.git main; git clone -q t:$STORE/r.git ../second; cd ../second
seq 1 100000 >more; git add .; git commit -qm two; git push -q; cd ../first
git fetch -q ssh://t$STORE/r.git main; git merge -q FETCH_HEAD; git log --format=%H; git fsck --no-progress
cd ..; rm -rf */.git""", needs=("git",), setup=FAR_GIT, output="[0-9a-f]{40}\n[0-9a-f]{40}\n", short=True),
    Row("git clone --depth, ls-remote, archive", GIT + FIRST + """
git push -q t:$STORE/r.git main; cd ..; git ls-remote t:$STORE/r.git
git clone -q --depth 1 ssh://t$STORE/r.git shallow; git -C shallow status -sb
git archive --remote=t:$STORE/r.git main tree/1 | tar -t | sort | head -3; rm -rf */.git""", needs=("git",), setup=FAR_GIT,
        output="refs/heads/main"),
    Row("git's errors", GIT + "git clone -q t:$STORE/nothing 2>/dev/null; echo $?; git ls-remote -q --exit-code t:$STORE/r.git; echo $?",
        needs=("git",), setup=FAR_GIT, output="128\n2\n"),
    Row("git push, interrupted and run again", GIT + FIRST + """
for i in {1..4}; do head -c 2000000 /dev/urandom >big; git add .; git commit -qm $i; done
timeout -s INT 0.3 git push -q t:$STORE/r.git main 2>/dev/null
git push -q t:$STORE/r.git main; echo $?; ssh -n t "git -C $STORE/r.git fsck --no-progress" 2>/dev/null
test "$(git rev-parse main)" = "$(git ls-remote t:$STORE/r.git main | cut -f1)" && echo equal; cd ..; rm -rf first""",
        needs=("git",), setup=FAR_GIT, output="0\nequal"),
    Row("hg clone, push, pull", """
export HGUSER=t; hg clone -q ssh://t/$STORE/hg one; cd one; cp -r $FIX/tree .; hg -q commit -Am one -d '0 0'; hg -q push
cd ..; hg clone -q ssh://t/$STORE/hg two; cd two; echo x >more; hg -q commit -Am two -d '0 0'; hg -q push; cd ../one
hg -q pull -u; hg log -T '{node}\\n'; cd ..; rm -rf */.hg""", needs=("hg",), setup=FAR_HG, output="[0-9a-f]{40}\n[0-9a-f]{40}\n"),
    Row("svn+ssh", """
svn co -q svn+ssh://t$STORE/svn one; cd one; cp -r $FIX/tree .; svn add -q tree; svn ci -qm 'the tree'
cd ..; svn co -q svn+ssh://t$STORE/svn two; echo more >>two/tree/empty; svn ci -qm 'one more' two; svn up -q one
svn log -q svn+ssh://t$STORE/svn | grep -c '^r'; rm -rf */.svn""", needs=("svn", "svnserve"), setup=FAR_SVN, output="2\n"),
]
