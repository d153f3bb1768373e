from __future__ import annotations

STREAM = {"id": "me/data", "streaming": True}
BAD = {"method": "orpo", "dataset": STREAM, "eval_dataset": STREAM | {"split": "test"}, "max_steps": 100}
GOOD = {"method": "orpo", "dataset": "me/data", "max_steps": 100}
EXPECTED = [
    ("dataset.streaming", "ORPOTrainer does not take streamed datasets", 'dataset="me/data"'),
    (
        "eval_dataset.streaming",
        "ORPOTrainer does not take streamed datasets",
        'eval_dataset=hft.Dataset(id="me/data", split="test")',
    ),
]
