"""files"""

ROWS = []
