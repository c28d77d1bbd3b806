# SPDX-License-Identifier: MIT
"""Where things are; the modules of the system tests are found after it."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))


class Unusable(Exception):
    """A way that does not even run `true`: nothing can be compared."""
