from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

FACTS = Facts(dataset=DatasetFacts(num_rows=10), eval_dataset=DatasetFacts(num_rows=0))
BAD = {"eval_fraction": 0.95, "eval_dataset": "me/test"}
GOOD = {"eval_fraction": 0.9}
UNCHECKED = "the rows of me/data"
EXPECTED = [
    ("eval_dataset", 'me/test has no rows in the split "train"', ""),
    ("eval_fraction", "holds out 10 of 10 rows, which leaves none for training", "eval_fraction=0.9"),
]
