from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import ValueFacts

BAD = {"dataset": "me/data", "eval_dataset": "me/test"}
GOOD = {"dataset": "me/data", "eval_dataset": "me/test"}


def known(seen: int) -> Facts:
    rows = ("prompt", "completion")
    trained, evaluated = frozenset(range(512)), frozenset(range(512 - seen, 612 - seen))
    return Facts(
        dataset=DatasetFacts(columns=rows, values=ValueFacts(512, digests=trained)),
        eval_dataset=DatasetFacts(columns=rows, values=ValueFacts(100, digests=evaluated)),
    )


FACTS = known(5)
GOOD_FACTS = known(4)
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "eval_dataset",
        "5 of its 100 different rows looked at are in the training dataset too",
        "eval_dataset=None, eval_fraction=0.1",
    )
]
