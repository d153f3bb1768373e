from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"method": "dpo", "dataset": "me/data"}
GOOD = {"method": "dpo", "dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (
        Finding("repeated prompt", ("chosen",), 0, 500),
        Finding("repeated prompt", ("rejected",), 0, 500),
    ),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "chosen", "rejected"), values=VALUES))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(
        columns=("prompt", "chosen", "rejected"),
        values=ValueFacts(512, (Finding("repeated prompt", ("chosen",), 0, 51),)),
    )
)
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        "chosen and rejected begin with the prompt: row 0 is the first of 500 in the 512 looked at",
        'dataset=hft.Dataset(id="me/data", keep_columns=["chosen", "rejected"])',
    )
]
