from __future__ import annotations

BAD = {"method": "grpo", "num_iterations": 4, "save_steps": 50, "timeout": "3h"}
GOOD = {"method": "grpo", "num_iterations": 4, "save_steps": 52, "timeout": "3h"}
EXPECTED = [
    (
        "save_steps",
        "at step 50 completions wait to be used: the run goes on only from a checkpoint every 100 steps",
        "save_steps=52",
    )
]
