from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
BAD = {"hardware": "l4x1", "num_train_epochs": 20, "save_strategy": "no"}
GOOD = {"hardware": "l4x1", "num_train_epochs": 20, "save_strategy": "epoch"}
EXPECTED = [
    (
        "save_strategy",
        (
            "no checkpoint is written, of a run of 50,000 steps that is expected to take 8 h 43 min (4 h 47 min "
            "to 35 h 3 min)"
        ),
        'save_strategy="steps", save_steps=5730',
    )
]
