from __future__ import annotations

BAD = {"timeout": 3}
GOOD = {"timeout": "4m"}
EXPECTED = [("timeout", "3s (4 s with padding) is too short: a job needs at least 300 s to start", 'timeout="3h"')]
