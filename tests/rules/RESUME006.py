from __future__ import annotations

FIELDS = {"method": "grpo", "num_generations": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 2}
BAD = {**FIELDS, "steps_per_generation": 6}
GOOD = {**FIELDS, "steps_per_generation": 12}
EXPECTED = [
    (
        "steps_per_generation",
        "6 batches are used of each generation, and 4 in a step: resumed, later epochs differ",
        "steps_per_generation=12",
    )
]
