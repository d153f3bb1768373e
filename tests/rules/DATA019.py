from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"assistant_only_loss": True, "dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (Finding("no answer", ("messages",), 5, 3),),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), values=VALUES))
GOOD_FACTS = FACTS
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        "messages has no message of the assistant: row 5 is the first of 3 in the 512 looked at",
        "assistant_only_loss=False",
    )
]
