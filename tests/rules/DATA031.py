from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.shape import Misfit, Shape

SHAPE = Shape(misfit=Misfit("weight", "messages"))
FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), splits=("train",), shape=SHAPE))
BAD = {"method": "gkd"}
GOOD = {"method": "gkd"}
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, columns=("messages",), splits=("train",), shape=Shape()))
UNCHECKED = "the rows of me/data"
EXPECTED = [
    (
        "dataset",
        (
            "messages of me/data has messages of weight 0, on which GKD would train all the same: drop the weights "
            "with hft.Dataset(map=...), or train with hft.SFT"
        ),
        "",
    ),
]
