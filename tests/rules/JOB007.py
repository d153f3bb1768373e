from __future__ import annotations

BAD = {"hardware": {"flavor": "l4x1", "attempts": 2, "nodes": 2}}
GOOD = {"hardware": {"flavor": "l4x1", "nodes": 2}}
EXPECTED = [
    (
        "hardware.attempts",
        "one of 2 nodes would start again without the others, which end when it fails",
        'hardware=hft.Hardware(flavor="l4x1", nodes=2)',
    )
]
