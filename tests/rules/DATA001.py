from __future__ import annotations

BAD = {"eval_strategy": "steps"}
GOOD = {"eval_strategy": "steps", "eval_fraction": 0.1}
EXPECTED = [
    (
        "eval_strategy",
        'eval_strategy="steps" needs an evaluation set: give eval_dataset or eval_fraction',
        "eval_fraction=0.1",
    ),
]
