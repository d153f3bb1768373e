from __future__ import annotations

BAD = {"dataset": {"id": "me/data", "streaming": True}}
GOOD = {"dataset": {"id": "me/data", "streaming": True}, "max_steps": 1}
EXPECTED = [
    ("max_steps", "the length of a streamed dataset is unknown, so the number of steps is required", "max_steps=1000"),
]
