from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (
        Finding("empty", ("messages",), 5, 6),
        Finding("no end", ("messages",), 7, 52, "user"),
    ),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), values=VALUES))
GOOD_FACTS = Facts(
    dataset=DatasetFacts(
        exists=True,
        columns=("messages",),
        values=ValueFacts(
            512, (Finding("empty", ("messages",), 5, 5), Finding("no end", ("messages",), 7, 51, "user"))
        ),
    )
)
UNCHECKED = "the rows of me/data"
EXPECTED = [
    ("dataset", "messages says nothing: row 5 is the first of 6 in the 512 looked at", ""),
    (
        "dataset",
        "messages ends with a message of the user, not the assistant: row 7 is the first of 52 in the 512 looked at",
        "",
    ),
]
