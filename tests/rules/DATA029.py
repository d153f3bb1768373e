from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import BrokenFile, ValueFacts

BAD = {"dataset": "train.jsonl", "eval_dataset": ["me/scripted", "me/shown"]}
GOOD = {"dataset": "train.jsonl", "eval_dataset": {"id": "me/shown", "revision": "refs/convert/parquet"}}
SHOWN = DatasetFacts(exists=True, columns=("text",), loading_script="shown.py", values=ValueFacts(100))
FACTS = Facts(
    dataset=DatasetFacts(exists=True, broken=BrokenFile("train.jsonl", 3, "is no JSON object (extra data)")),
    eval_dataset=DatasetFacts(exists=True, loading_script="scripted.py", mixed_with=(SHOWN,)),
)
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, values=ValueFacts(100)), eval_dataset=SHOWN)
EXPECTED = [
    ("dataset.id", "train.jsonl, line 3: is no JSON object (extra data)", ""),
    (
        "eval_dataset.id",
        "me/scripted is a loading script (scripted.py), which datasets no longer runs",
        "",
    ),
    (
        "eval_dataset.mixed_with.0.id",
        "me/shown is a loading script (shown.py), which datasets no longer runs",
        'eval_dataset=["me/scripted", hft.Dataset(id="me/shown", revision="refs/convert/parquet")]',
    ),
]
