# SPDX-License-Identifier: MIT
"""Editors, and other things that start ssh for a person."""

from row import Differs, Row

OWN_PATH = "**Tools that give `ssh` a ControlPath of their own**"
TRAMP = """
(setq tramp-verbose 1 tramp-use-ssh-controlmaster-options nil make-backup-files nil
      tramp-persistency-file-name nil auto-save-default nil)
(let ((far (concat "/ssh:t:" (getenv "FAR") "/")))
  (copy-file (concat (getenv "FIX") "/mid") (concat far "mid"))
  (with-temp-file (concat far "note.txt") (insert "from emacs\\n"))
  (copy-directory (concat (getenv "FIX") "/tree/1") (concat far "one"))
  (copy-file (concat far "one/1.txt") (concat (getenv "OUT") "/1.txt"))
  (princ (format "%S\\n" (length (directory-files far))))
  (let ((default-directory far))
    (princ (shell-command-to-string "cat note.txt; uname"))
    (princ (format "%S\\n" (process-file "sh" nil nil nil "-c" "exit 5")))))
"""

ROWS = [
    Row("TRAMP", f"cat >$STORE/t.el <<'END'\n{TRAMP}END\nemacs -Q --batch -l tramp -l $STORE/t.el 2>/dev/null", needs=("emacs",),
        output="5\nfrom emacs\nLinux\n5\n", timeout=120),
    Row("TRAMP as it comes", """
emacs -Q --batch -l tramp --eval '(write-region "from emacs\\n" nil (concat "/ssh:t:" (getenv "FAR") "/note.txt"))' >/dev/null 2>&1; echo $?
ssh -n t true""", needs=("emacs",), output="^0\n", differs=Differs(OWN_PATH, output="255\n", files=True), timeout=120),
    Row("vim's netrw", """
TERM=xterm script -qec "vim -N -u NONE -i NONE -n -c 'set shell=/bin/bash' -c 'runtime plugin/netrwPlugin.vim' \\
  -c 'edit scp://t/$FIX/tree/run.sh' -c 'normal Gonew line' -c 'write scp://t/$FAR/edited' -c 'qa!'" /dev/null </dev/null >/dev/null
cat $FAR/edited""", needs=("vim", "script"), output="new line", timeout=30),
    Row("ssh-copy-id", """
mkdir -m 700 ~/.ssh; ssh-keygen -q -t ed25519 -N '' -C row -f $STORE/key 2>/dev/null
ssh-copy-id -f -i $STORE/key.pub t >/dev/null 2>&1; echo $?
cmp $STORE/key.pub $STORE/home/.ssh/authorized_keys; stat -c %a $STORE/home/.ssh/authorized_keys""", output="0\n600\n"),
    Row("mosh's ssh", """
TERM=xterm script -qec 'stty rows 24 cols 80; mosh --experimental-remote-ip=remote --bind-server=any t -- sh -c "echo here >$FAR/here"' /dev/null </dev/null >/dev/null
await test -s $FAR/here; echo $?""", needs=("mosh", "script"), output="0\n", timeout=30),
    Row("mosh as it comes", """
TERM=xterm timeout 10 script -qec 'stty rows 24 cols 80; mosh t -- sh -c "echo here >$FAR/here"' /dev/null </dev/null >/dev/null
for i in {1..50}; do test -s $FAR/here && break; sleep 0.02; done; test -s $FAR/here; echo $?; ssh -n t true""",
        needs=("mosh", "script"), output="0\n", differs=Differs(OWN_PATH, output="1\n", files=True)),
]
