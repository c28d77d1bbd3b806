"""backups"""

ROWS = []
