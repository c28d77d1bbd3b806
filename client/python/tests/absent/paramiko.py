# SPDX-License-Identifier: MIT
"""First on PYTHONPATH, it makes paramiko a package that is not there, for every process of a test run."""

raise ModuleNotFoundError("No module named 'paramiko'", name="paramiko")
