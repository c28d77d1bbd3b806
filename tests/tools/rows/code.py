"""code"""

ROWS = []
