from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"method": "kto", "dataset": {"id": "me/data", "streaming": True}, "max_steps": 10}
GOOD = {"method": "kto", "dataset": "me/data", "max_steps": 10}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("chosen", "rejected"), splits=("train",)))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    ("dataset.streaming", "streamed pairs cannot be split into single answers and shuffled", 'dataset="me/data"')
]
