from __future__ import annotations

BAD = {"method": "grpo", "reward_weights": [1.0, 0.5]}
GOOD = {"method": "grpo", "reward_funcs": ["think_format_reward", "me/judge"], "reward_weights": [1.0, 0.5]}
EXPECTED = [
    ("reward_weights", "gives 2 for 1 reward", "reward_weights=[1.0]"),
]
