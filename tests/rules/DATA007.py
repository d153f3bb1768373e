from __future__ import annotations

BAD = {"dataset": {"id": "me/data", "streaming": True}}
GOOD = {"dataset": {"id": "me/data", "streaming": True}, "max_steps": 1}
EXPECTED = [
    ("max_steps", "a streamed dataset has no length: say how many steps to train", "max_steps=1000"),
]
