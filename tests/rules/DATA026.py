from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (Finding("repeated row", ("prompt", "completion"), 3, 103),),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "completion"), values=VALUES))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(
        columns=("prompt", "completion"),
        values=ValueFacts(512, (Finding("repeated row", ("prompt", "completion"), 3, 102),)),
    )
)
UNCHECKED = "the rows of me/data"
EXPECTED = [("dataset", "103 of the 512 rows looked at were there before, word for word; row 3 is the first", "")]
