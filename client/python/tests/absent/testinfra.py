# SPDX-License-Identifier: MIT
"""First on PYTHONPATH, it makes testinfra a package that is not there, for every process of a test run."""

raise ModuleNotFoundError("No module named 'testinfra'", name="testinfra")
