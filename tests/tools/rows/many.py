"""Many hosts at once; Ansible."""

ROWS = []


def ansible_config(way, place):
    return (f"[defaults]\nhost_key_checking = True\ninterpreter_python = /usr/bin/python3\nlocal_tmp = {place.dir}/home/tmp\n"
            f"remote_tmp = {place.dir}/store/home/tmp\nnocows = True\nforks = 8\ndeprecation_warnings = False\n" + way.ansible())
