from __future__ import annotations

BAD = {"eval_dataset": {"id": "me/data", "split": "train[:10%]"}}
GOOD = {"dataset": {"id": "me/data", "split": "train[10%:]"}, "eval_dataset": {"id": "me/data", "split": "train[:10%]"}}
EXPECTED = [("eval_dataset", "the model is trained on these rows", "eval_dataset=None, eval_fraction=0.1")]
