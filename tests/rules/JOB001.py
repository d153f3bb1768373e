from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"hardware": "a10g-large"}
GOOD = {"timeout": "3h"}
FACTS = Facts(model=ModelFacts(exists=True), dataset=DatasetFacts(exists=True))
UNCHECKED = "the size of the model and the rows of the dataset (or max_steps)"
EXPECTED = [
    (
        "timeout",
        "is needed: without it, Hugging Face Jobs ends the run after 30 minutes",
        'timeout="3h"',
    ),
]
