from __future__ import annotations

BAD = {"method": "grpo", "per_device_train_batch_size": 6, "num_generations": 8, "hardware": "a10g-large"}
GOOD = {"method": "grpo", "per_device_train_batch_size": 8, "num_generations": 8, "hardware": "a10g-large"}
EXPECTED = [
    (
        "num_generations",
        "8 answers per prompt do not divide the 6 generated at once: 6 per device x 1 GPU x 1 step",
        "num_generations=6",
    )
]
