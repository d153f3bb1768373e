from __future__ import annotations

BAD = {"dataset": {"id": "me/data", "streaming": True}, "max_steps": 100, "eval_fraction": 0.1}
GOOD = {"dataset": "me/data", "max_steps": 100, "eval_fraction": 0.1}
EXPECTED = [("eval_fraction", "rows cannot be held out of a streamed dataset", 'dataset="me/data"')]
