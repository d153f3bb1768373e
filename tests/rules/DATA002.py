from __future__ import annotations

BAD = {"eval_dataset": "me/test", "eval_fraction": 0.1}
GOOD = {"eval_dataset": "me/test"}
EXPECTED = [("eval_fraction", "eval_dataset is also given", "eval_fraction=None")]
