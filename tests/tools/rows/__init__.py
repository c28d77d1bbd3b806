# SPDX-License-Identifier: MIT
"""The rows, by what they are about."""

from rows import backups, code, commands, editors, files, forwards, many, pipes
from rows.many import ansible_config

__all__ = ["ansible_config", "every"]


def every():
    found = []
    for module in (commands, pipes, forwards, files, code, backups, many, editors):
        for row in module.ROWS:
            row.group = module.__name__.rpartition(".")[2]
            row.name = row.name if row.name.startswith(f"{row.group}: ") else f"{row.group}: {row.name}"
            found.append(row)
    return found
