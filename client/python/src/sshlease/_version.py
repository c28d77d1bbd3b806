# SPDX-License-Identifier: MIT
"""The version: that of the project's CMakeLists.txt, which a test compares."""

__version__ = "0.1.0"
