from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"method": "dpo", "dataset": "me/data"}
GOOD = {"method": "dpo", "dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (
        Finding("differing column", ("completion",), 0, 512),
        Finding("differing rows", ("prompt", "chosen", "rejected"), 9, 2, "messages"),
    ),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "chosen", "rejected", "completion"), values=VALUES))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(exists=True, columns=("prompt", "chosen", "rejected", "completion"), values=ValueFacts(512))
)
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        (
            "by completion, which is not trained on, TRL may take messages for text or the "
            "reverse: row 0 is the first of 512 in the 512 looked at"
        ),
        'dataset=hft.Dataset(id="me/data", columns={"completion": "other_completion"})',
    ),
    (
        "dataset",
        "prompt holds messages, where the first rows hold text: row 9 is the first of 2 in the 512 looked at",
        "",
    ),
]
