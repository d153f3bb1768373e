from __future__ import annotations

BAD = {"hardware": "a10g-large"}
GOOD = {"timeout": "3h"}
EXPECTED = [
    (
        "timeout",
        "is needed: without it, Hugging Face Jobs ends the run after 30 minutes",
        'timeout="3h"',
    ),
]
