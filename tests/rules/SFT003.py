from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"assistant_only_loss": True}
GOOD = {"assistant_only_loss": True}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("text", "id")))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages", "id")))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    ("assistant_only_loss", "me/data has no conversations: its columns are text, id", "assistant_only_loss=False")
]
