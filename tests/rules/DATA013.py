from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (
        Finding("null", ("completion",), 17, 3),
        Finding("null content", ("prompt",), 20, 1),
        Finding("empty list", ("prompt",), 30, 2),
    ),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "completion"), values=VALUES))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "completion"), values=ValueFacts(512)))
UNCHECKED = "the rows of me/data"
EXPECTED = [
    ("dataset", "completion holds no value: row 17 is the first of 3 in the 512 looked at", ""),
    ("dataset", "prompt holds a message without content: row 20 of the 512 looked at", ""),
    ("dataset", "prompt holds an empty list in place of messages: row 30 is the first of 2 in the 512 looked at", ""),
]
