from __future__ import annotations

BAD = {"eval_fraction": 0.5, "eval_strategy": "steps", "save_strategy": "best"}
GOOD = {"eval_fraction": 0.5, "eval_strategy": "steps", "save_strategy": "best", "metric_for_best_model": "eval_loss"}
EXPECTED = [
    ("metric_for_best_model", 'is required for save_strategy="best"', 'metric_for_best_model="eval_loss"'),
]
