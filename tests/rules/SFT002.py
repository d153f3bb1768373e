from __future__ import annotations

BAD = {"packing": True, "max_length": None}
GOOD = {"packing": True, "max_length": 64}
EXPECTED = [
    ("max_length", "packing=True fills sequences of this length", "max_length=1024"),
]
