"""editors"""

ROWS = []
