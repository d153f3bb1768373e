from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"method": "dpo", "dataset": "me/data"}
GOOD = {"method": "dpo", "dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (Finding("equal", ("chosen", "rejected"), 0, 11),),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "chosen", "rejected"), values=VALUES))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(
        columns=("prompt", "chosen", "rejected"),
        values=ValueFacts(512, (Finding("equal", ("chosen", "rejected"), 0, 10),)),
    )
)
UNCHECKED = "the rows of me/data"
EXPECTED = [("dataset", "chosen and rejected are equal: row 0 is the first of 11 in the 512 looked at", "")]
