# SPDX-License-Identifier: MIT
"""The servers of the zoo: one module for each program or family of them, one object for each server."""

import importlib

MODULES = ("openssh", "dropbear", "tinyssh", "libraries", "devices")


def every():
    return [server for module in MODULES for server in importlib.import_module(f"servers.{module}").SERVERS]
