from __future__ import annotations

BAD = {"method": "stf"}
GOOD = {"method": "sft"}
EXPECTED = [
    (
        "method",
        'must be one of "cpo", "distillation", "dpo", "gkd", "grpo", "kto", "online_dpo", "orpo", "ppo", "reward", '
        '"rloo", "sft"',
        'method="sft"',
    ),
]
