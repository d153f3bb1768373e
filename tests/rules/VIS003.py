from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"method": "sft", "max_length": 512}
GOOD = {"method": "sft", "max_length": None}
FACTS = Facts(model=ModelFacts(is_vision=True), dataset=DatasetFacts(columns=("images", "messages")))
UNCHECKED = "the columns of me/data"
EXPECTED = [
    (
        "max_length",
        "a row of more than 512 tokens may be cut inside its image, which ends the run",
        "max_length=None",
    ),
]
