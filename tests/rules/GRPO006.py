from __future__ import annotations

BAD = {"method": "grpo", "remove_unused_columns": True}
GOOD = {"method": "grpo"}
EXPECTED = [
    ("remove_unused_columns", "would drop the columns that the rewards are given", "remove_unused_columns=False")
]
