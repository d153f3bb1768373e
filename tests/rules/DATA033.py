from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"method": "dpo", "dataset": "me/data"}
GOOD = {"method": "dpo", "dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (Finding("no prompt", ("chosen", "rejected"), 0, 256, "ask"),),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("ask", "chosen", "rejected"), values=VALUES))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(
        columns=("ask", "chosen", "rejected"),
        values=ValueFacts(512, (Finding("no prompt", ("chosen", "rejected"), 0, 255),)),
    )
)
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        (
            "chosen and rejected begin differently, and there is no column prompt: row 0 is the first of 256 in the "
            "512 looked at"
        ),
        'dataset=hft.Dataset(id="me/data", columns={"ask": "prompt"})',
    )
]
