from __future__ import annotations

BAD = {"method": "dpo", "learning_rate": 5e-2, "lora": {}}
GOOD = {"method": "dpo", "learning_rate": 5e-2, "lora": {}, "optim": "sgd"}
EXPECTED = [
    (
        "learning_rate",
        "0.05 is 5,000 times above what recipes for DPO train an adapter with, 5e-6 to 1e-5: nothing is learned",
        "learning_rate=5e-6",
    ),
]
