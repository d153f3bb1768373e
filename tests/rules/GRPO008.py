from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {
    "method": "grpo",
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 4,
    "num_generations": 2,
    "eval_fraction": 0.25,
    "hardware": "a10g-large",
}
GOOD = BAD | {"gradient_accumulation_steps": 3}
FACTS = Facts(dataset=DatasetFacts(num_rows=17))
UNCHECKED = "the number of rows of me/data"
EXPECTED = [
    (
        "dataset",
        "12 prompts are left to train on, fewer than the 16 of one generation batch: 32 answers, 2 per prompt",
        "per_device_train_batch_size=6",
    )
]
