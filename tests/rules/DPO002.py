from __future__ import annotations

BAD = {"method": "dpo", "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}
GOOD = {"method": "dpo", "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}
EXPECTED = [
    ("loss_weights", "gives 1 for 2 losses: sigmoid, sft", "loss_weights=[1.0, 1.0]"),
]
