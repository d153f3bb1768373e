from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts

BAD = {"dataset": {"id": "me/data", "split": "training"}, "eval_dataset": {"id": "me/data", "split": "test [10]"}}
GOOD = {
    "dataset": {"id": "me/data", "split": "train+test[:50%]"},
    "eval_dataset": {"id": "me/data", "split": "test[50%:]"},
}
FACTS = Facts(
    dataset=DatasetFacts(exists=True, splits=("train", "test")),
    eval_dataset=DatasetFacts(exists=True, splits=("train", "test")),
)
UNCHECKED = "the splits of me/data"
EXPECTED = [
    (
        "dataset.split",
        'me/data has no split "training"; it has train, test',
        'dataset=hft.Dataset(id="me/data", split="train")',
    ),
    ("eval_dataset.split", '"test [10]" names no split', 'eval_dataset=hft.Dataset(id="me/data", split="test")'),
]
