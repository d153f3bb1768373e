from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"model": "me/modle", "dataset": "me/data"}
GOOD = {"model": "me/model", "dataset": "me/data"}
FACTS = Facts(model=ModelFacts(exists=False), dataset=DatasetFacts(exists=False))
GOOD_FACTS = Facts(model=ModelFacts(exists=True), dataset=DatasetFacts(exists=True))
UNCHECKED = "whether the Hub has me/modle"
EXPECTED = [
    (
        "model",
        "the Hub has no model me/modle, or does not show it to your token; a folder here is written ./me/modle",
        "",
    ),
    (
        "dataset.id",
        "the Hub has no dataset me/data, or does not show it to your token; a folder here is written ./me/data",
        "",
    ),
]
