from __future__ import annotations

BAD = {"logging_steps": 0, "save_steps": 2.5}
GOOD = {"logging_steps": 0.1, "save_steps": 2}
EXPECTED = [
    ("logging_steps", '0 is not an interval; logging_strategy="no" switches it off', "logging_steps=1"),
    ("save_steps", "2.5 is neither a whole number of steps nor a share below 1", "save_steps=2"),
]
