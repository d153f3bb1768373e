from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"method": "grpo", "dataset": {"id": "me/data", "columns": {"prompt": "question", "anser": "solution"}}}
GOOD = {"method": "grpo", "dataset": {"id": "me/data", "columns": {"question": "prompt", "answer": "solution"}}}
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("question", "answer"), splits=("train",)))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    (
        "dataset.columns",
        "me/data has no column prompt; it has question, answer",
        'dataset=hft.Dataset(id="me/data", columns={"question": "prompt", "answer": "solution"})',
    ),
    (
        "dataset.columns",
        "me/data has no column anser; it has question, answer",
        'dataset=hft.Dataset(id="me/data", columns={"question": "prompt", "answer": "solution"})',
    ),
]
