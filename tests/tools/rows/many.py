# SPDX-License-Identifier: MIT
"""Many hosts at once; Ansible."""

from row import Row

NODES = tuple(f"n{i}" for i in range(1, 9))
LIST = ",".join(NODES)
PLAY = """
cat >play.yaml <<'END'
- hosts: all
  gather_facts: true
  vars: {ansible_async_dir: "{{ lookup('env', 'FAR') }}/async"}
  tasks:
    - copy: {src: "{{ lookup('env', 'FIX') }}/mid", dest: "{{ lookup('env', 'FAR') }}/{{ inventory_hostname }}.mid"}
    - template: {src: t.j2, dest: "{{ lookup('env', 'FAR') }}/{{ inventory_hostname }}.txt"}
    - command: wc -c "{{ lookup('env', 'FAR') }}/{{ inventory_hostname }}.mid"
      register: counted
    - shell: echo more; exit 3
      register: failed
      failed_when: failed.rc != 3
    - command: sleep 1
      async: 20
      poll: 1
    - meta: reset_connection
    - fetch: {src: "{{ lookup('env', 'FAR') }}/{{ inventory_hostname }}.txt", dest: "./", flat: true}
    - debug: {var: counted.stdout}
END
echo 'for {{ inventory_hostname }} on {{ ansible_system }}' >t.j2
"""
TOLD = " | grep -o 'n[0-9].*ok=.*failed=[0-9]*\\|counted.stdout.: .[0-9]*' | tr -s ' ' | sort; rm play.yaml t.j2"


def ansible_config(way, place):
    return (f"[defaults]\nhost_key_checking = True\ninterpreter_python = /usr/bin/python3\nlocal_tmp = {place.dir}/home/tmp\n"
            f"remote_tmp = {place.dir}/store/home/tmp\nforks = 8\n"
            f"remote_user = {place.account.pw_name}\n" + way.ansible())


def playbook(environment=""):
    return (PLAY + f"ANSIBLE_CONFIG=~/ansible.cfg {environment} ansible-playbook -i n1,n2,n3,n4 play.yaml" + TOLD)


PLAYED = r"counted.stdout.: .8388608.*n4 : ok=8 .*failed=0\n$"

ROWS = [
    Row("pdsh", f"pdsh -R exec -w {LIST} ssh -n %h 'echo here; exit 0' | sort", needs=("pdsh",), hosts=NODES, output="n8: here\n"),
    Row("pdsh -R ssh", f"PDSH_SSH_ARGS_APPEND=-q pdsh -S -R ssh -w {LIST} 'echo %h; exit 3' 2>/dev/null | sort; echo ${{PIPESTATUS[0]}}",
        needs=("pdsh",), hosts=NODES, output="n8: .*\n3\n"),
    Row("parallel-ssh", f"parallel-ssh -i -H '{' '.join(NODES)}' 'echo here' | grep -c SUCCESS; parallel-ssh -H n1 'exit 2' >/dev/null",
        needs=("parallel-ssh",), hosts=NODES, status=5, output="8\n"),
    Row("parallel-scp, parallel-slurp", """
parallel-scp -H 'n1 n2' $FIX/mid $FAR/mid >/dev/null && parallel-slurp -L slurped -H 'n1 n2' $FIX/tree/run.sh run.sh >/dev/null""",
        needs=("parallel-scp", "parallel-slurp"), hosts=("n1", "n2")),
    Row("clush", f"clush -S -w {LIST} -b 'echo here; exit 2'", needs=("clush",), hosts=NODES, status=2, output="here"),
    Row("clush --copy", f"clush -w {LIST} --copy $FIX/mid --dest $FAR/mid; clush -w n1 --rcopy $FIX/tree/run.sh --dest .",
        needs=("clush",), hosts=NODES),
    Row("GNU parallel", "parallel --will-cite -S 4/t,4/u 'echo {}; cat' ::: $(seq 1 40) </dev/null | sort -n | sha256sum",
        needs=("parallel",), hosts=("t", "u")),
    Row("GNU parallel with files", """
cp $FIX/tree/1/1*.txt .; parallel --will-cite -S t,u --trc {}.sum 'sha256sum {} >{}.sum' ::: *.txt""", needs=("parallel",), hosts=("t", "u")),
    Row("forty at once", "for i in {1..40}; do ssh -n t \"echo $i\" & done | sort -n | tail -1; wait", output="40\n"),
    Row("xargs -P", "seq 1 40 | xargs -P 8 -I@ ssh -n t 'echo @; exit 0' | sort -n | tail -1", output="40\n"),
    Row("ansible -m ping", "ANSIBLE_CONFIG=~/ansible.cfg ansible -o -i n1,n2,n3,n4 all -m ping | sort", needs=("ansible",), hosts=NODES[:4],
        output="pong", timeout=120),
    Row("ansible, raw and script", """
printf '#!/bin/sh\\necho script $1\\n' >s.sh
for m in 'raw -a "echo raw; exit 0"' 'script -a "s.sh x"'; do
  eval ANSIBLE_CONFIG=~/ansible.cfg ansible -i n1,n2 all -m $m | grep -o '^n. . [A-Z]*\\|raw\\|script x' | sort
done""", needs=("ansible",), hosts=NODES[:2], output="CHANGED", timeout=120),
    Row("ansible-playbook", playbook(), needs=("ansible-playbook",), hosts=NODES[:4], output=PLAYED, timeout=240),
    Row("ansible-playbook, pipelining", playbook("ANSIBLE_PIPELINING=1"), needs=("ansible-playbook",), hosts=NODES[:4], output=PLAYED,
        timeout=240),
    Row("ansible, become", """
ANSIBLE_CONFIG=~/ansible.cfg ansible -o -u root -i root, all -b --become-method su --become-user $ACCOUNT -m command -a 'id -un'""",
        needs=("ansible",), hosts=("root",), root=True, output="rc=0.*sshlease", timeout=120),
]
