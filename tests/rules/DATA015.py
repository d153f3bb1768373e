from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"method": "dpo", "dataset": {"id": "me/data", "columns": {"good": "chosen"}}}
GOOD = {"method": "dpo", "dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (
        Finding("whole answers", ("prompt", "chosen", "rejected"), 0, 512),
        Finding("beside", ("prompt", "chosen"), 3, 1),
    ),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "good", "rejected"), values=VALUES))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "chosen", "rejected"), values=ValueFacts(512)))
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        (
            "prompt, chosen and rejected hold text and messages side by side: row 0 is the "
            "first of 512 in the 512 looked at"
        ),
        'dataset=hft.Dataset(id="me/data", columns={"good": "chosen"}, keep_columns=["good", "rejected"])',
    ),
    ("dataset", "prompt and chosen hold text and messages side by side: row 3 of the 512 looked at", ""),
]
