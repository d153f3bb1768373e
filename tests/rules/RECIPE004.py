from __future__ import annotations

BAD = {"method": "reward"}
GOOD = {"method": "reward", "lora": {}}
EXPECTED = [
    (
        "learning_rate",
        "1e-4, TRL's default, is 10 times above what recipes for Reward train all weights with, 3e-6 to 1e-5",
        "learning_rate=1e-5",
    ),
]
