from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"completion_only_loss": True}
GOOD = {"completion_only_loss": True}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",)))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "completion")))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    (
        "completion_only_loss",
        "is ignored: me/data has no prompt and completion",
        "completion_only_loss=None, assistant_only_loss=True",
    )
]
