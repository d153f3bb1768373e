from __future__ import annotations

BAD = {"method": "grpo", "dataset": {}, "reward_funcs": "think_format_reward"}
GOOD = {"method": "grpo", "dataset": {"id": "me/data"}}
EXPECTED = [
    ("dataset.id", "is required", ""),
]
