from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts


def batched(rows):
    return [f"Q: {question}" for question in rows["question"]]


def single(row):
    return f"Q: {row['question']}"


def _known(*columns: str) -> Facts:
    return Facts(dataset=DatasetFacts(exists=True, columns=columns))


BAD = {"formatting_func": batched, "completion_only_loss": True, "dataset_text_field": "content"}
GOOD = {"formatting_func": single}
FACTS, GOOD_FACTS = _known("prompt", "completion"), _known("question", "answer")
UNCHECKED = "the columns of me/data"
EXPECTED = [
    ("formatting_func", "batched returns a list: it is given one row, and returns its text", ""),
    (
        "completion_only_loss",
        "formatting_func makes one text of a row, in which no part is told apart",
        "completion_only_loss=False",
    ),
    ("dataset_text_field", "formatting_func makes the column text", 'dataset_text_field="text"'),
    (
        "formatting_func",
        "TRL trains on prompt of me/data, not on what batched returns: give it another name in columns=, by which "
        "batched then reads it",
        "",
    ),
]
