from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.facts.values import Finding, ValueFacts

BAD = {"dataset": "me/data"}
GOOD = {"dataset": "me/data"}
VALUES = ValueFacts(
    512,
    (Finding("parts", ("messages",), 1, 1),),
)
FACTS = Facts(
    dataset=DatasetFacts(exists=True, columns=("messages",), values=VALUES), model=ModelFacts(is_vision=False)
)
GOOD_FACTS = Facts(
    dataset=DatasetFacts(exists=True, columns=("messages",), values=VALUES), model=ModelFacts(is_vision=True)
)
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        (
            "messages holds a message whose content is a list of parts, and me/model is a "
            "text model: row 1 of the 512 looked at"
        ),
        "",
    )
]
