from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (Finding("unknown role", ("messages",), 5, 6, "narrator"),),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), values=VALUES))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), values=ValueFacts(512)))
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        (
            'messages holds a message of role "narrator", which few chat templates know: row '
            "5 is the first of 6 in the 512 looked at"
        ),
        "",
    )
]
