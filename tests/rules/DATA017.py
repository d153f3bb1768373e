from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (
        Finding("no role", ("messages",), 1, 1),
        Finding("other role", ("messages",), 2, 500, "gpt"),
    ),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), values=VALUES))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), values=ValueFacts(512)))
UNCHECKED = "the rows of me/data"
EXPECTED = [
    ("dataset", "messages holds a message without role: row 1 of the 512 looked at", ""),
    (
        "dataset",
        (
            'messages holds a message of role "gpt"; chat templates know user, assistant, '
            "system and tool: row 2 is the first of 500 in the 512 looked at"
        ),
        "",
    ),
]
