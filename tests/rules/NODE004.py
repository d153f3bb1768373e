from __future__ import annotations

BAD = {"method": "script", "hardware": {"flavor": "a10g-large", "nodes": 2}}
GOOD = {"method": "script", "hardware": {"flavor": "a10g-largex2"}}
EXPECTED = [
    ("hardware.nodes", "nobody knows what this script does on 2 nodes", "nodes=1, with a larger flavor"),
]
