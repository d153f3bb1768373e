from __future__ import annotations

BAD = {"method": "stf"}
GOOD = {"method": "sft"}
EXPECTED = [
    ("method", 'must be one of "dpo", "grpo", "sft"', 'method="sft"'),
]
