from __future__ import annotations

import json

import hfjobs_trainer as hft

BAD = {"method": "stf"}
GOOD = {"method": "sft"}
EXPECTED = [
    ("method", f"must be one of {', '.join(json.dumps(name) for name in sorted(hft.METHODS))}", 'method="sft"'),
]
