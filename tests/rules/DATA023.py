from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"method": "kto", "dataset": "me/data"}
GOOD = {"method": "kto", "dataset": "me/data"}
VALUES = ValueFacts(
    8,
    (Finding("one label", ("label",), 0, 8, "true"),),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "completion", "label"), values=VALUES))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(
        columns=("prompt", "completion", "label"),
        values=ValueFacts(3, (Finding("one label", ("label",), 0, 3, "true"),)),
    )
)
UNCHECKED = "the rows of me/data"
EXPECTED = [("dataset", "label is true in all 8 rows looked at that have one", "")]
