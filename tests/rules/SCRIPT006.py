from __future__ import annotations

BAD = {"method": "script", "hardware": "auto"}
GOOD = {"method": "script", "hardware": "a10g-large"}
EXPECTED = [
    ("hardware.flavor", "what this script needs cannot be estimated", 'hardware="a10g-large"'),
]
