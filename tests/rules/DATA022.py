from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"method": "kto", "dataset": "me/data"}
GOOD = {"method": "kto", "dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (Finding("label", ("label",), 0, 512, "good"),),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "completion", "label"), values=VALUES))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "completion", "label"), values=ValueFacts(512)))
UNCHECKED = "the rows of me/data"
EXPECTED = [
    ("dataset", "label is neither true nor false, 1 nor 0 (good): row 0 is the first of 512 in the 512 looked at", "")
]
