from __future__ import annotations

BAD = {"hardware": "a10g-large"}
GOOD = {"timeout": "3h"}
EXPECTED = [
    (
        "timeout",
        "is needed: say how long the run may take, or Hugging Face Jobs ends it after 30 minutes",
        'timeout="3h"',
    ),
]
