from __future__ import annotations

BAD = {"method": "gkd", "packing": True}
GOOD = {"method": "gkd", "max_length": 512}
EXPECTED = [("packing", "GKD does not prepare the dataset as SFT does; it has no effect", "packing=None")]
