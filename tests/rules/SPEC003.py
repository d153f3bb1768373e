from __future__ import annotations

BAD = {
    "learning_rate": "2e-5",
    "timeout": "1 fortnight",
    "eval_strategy": "step",
    "lora": {"r": 0},
    "dataset": 3,
    "eval_fraction": 1.0,
}
GOOD = {"learning_rate": 2e-5, "timeout": "1h30m", "eval_strategy": "no", "lora": {"r": 8}}
EXPECTED = [
    ("eval_strategy", "must be 'no', 'steps' or 'epoch'", 'eval_strategy="steps"'),
    ("timeout", '\'1 fortnight\' is not a duration; write "90m", "1h30m", "5400" (seconds) or a timedelta', ""),
    ("dataset", "must be a valid dictionary or instance of Dataset, not an int", ""),
    ("eval_fraction", "must be a share below 1, or a number of rows from 2 on", ""),
    ("lora.r", "must be greater than or equal to 1", ""),
    ("learning_rate", "must be a valid number, not a str", "learning_rate=2e-5"),
]
