from __future__ import annotations

BAD = {
    "method": "grpo",
    "auto_find_batch_size": True,
    "generation_batch_size": 8,
    "steps_per_generation": 1,
}
GOOD = {"method": "grpo", "generation_batch_size": 8, "hardware": "a10g-large"}
EXPECTED = [
    (
        "auto_find_batch_size",
        "a smaller batch would no longer hold whole groups of answers",
        "auto_find_batch_size=False",
    ),
    ("steps_per_generation", "follows from generation_batch_size, which is also given", "steps_per_generation=None"),
]
