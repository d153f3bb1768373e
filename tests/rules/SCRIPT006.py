from __future__ import annotations

BAD = {"method": "script", "hardware": "auto"}
GOOD = {"method": "script", "hardware": "a10g-large"}
EXPECTED = [
    ("hardware.flavor", "nobody can know what this script needs", 'hardware="a10g-large"'),
]
