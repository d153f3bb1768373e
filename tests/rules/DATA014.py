from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (
        Finding("json", ("messages",), 0, 512, "[{..."),
        Finding("tools", ("tools",), 4, 1, "get_weather"),
        Finding("template arguments", ("other",), 4, 1),
    ),
)
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages", "tools"), values=VALUES))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages", "tools"), values=ValueFacts(512)))
UNCHECKED = "the rows of me/data"
EXPECTED = [
    ("dataset", "messages holds messages as JSON text ([{...): row 0 is the first of 512 in the 512 looked at", ""),
    (
        "dataset",
        (
            "tools holds what is neither a list of tools nor such a list as JSON text "
            "(get_weather): row 4 of the 512 looked at"
        ),
        "",
    ),
]
