from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"dataset": {"id": "me/data", "columns": {"chat": "messages"}}}
GOOD = {"dataset": {"id": "me/data", "columns": {"chat": "messages", "prompt": "first_prompt"}}}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("prompt", "chat")))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    (
        "dataset",
        "me/data has a column prompt, for which TRL expects a completion",
        'dataset=hft.Dataset(id="me/data", columns={"chat": "messages", "prompt": "first_prompt"})',
    ),
]
