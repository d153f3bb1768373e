from __future__ import annotations

BAD = {"method": "script", "hardware": {"flavor": "a10g-large", "nodes": 2}}
GOOD = {"method": "script", "hardware": {"flavor": "a10g-largex2"}}
EXPECTED = [
    (
        "hardware.nodes",
        "a script of your own runs on one node, not on 2",
        'hardware=hft.Hardware(flavor="a10g-large", nodes=1)',
    )
]
