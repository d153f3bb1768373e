from __future__ import annotations

BAD = {
    "method": "grpo",
    "eval_fraction": 0.5,
    "eval_strategy": "steps",
    "per_device_eval_batch_size": 3,
    "num_generations": 2,
    "hardware": "a10g-large",
}
GOOD = {
    "method": "grpo",
    "eval_fraction": 0.5,
    "eval_strategy": "steps",
    "per_device_eval_batch_size": 4,
    "num_generations": 2,
    "hardware": "a10g-large",
}
EXPECTED = [
    (
        "per_device_eval_batch_size",
        "3 per device on 1 GPU is not a multiple of 2 answers per prompt",
        "per_device_eval_batch_size=4",
    ),
]
