from __future__ import annotations

BAD = {"eval_fraction": 0.1, "eval_steps": 50}
GOOD = {"eval_fraction": 0.1, "eval_strategy": "steps", "eval_steps": 50}
EXPECTED = [
    ("eval_fraction", 'nothing is evaluated on these rows, since eval_strategy is "no"', 'eval_strategy="steps"')
]
