from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
BAD = {"hardware": {"flavor": "l4x1", "max_hours": 0.5}}
GOOD = {"hardware": {"flavor": "auto", "max_hours": 0.5}}
UNCHECKED = "the size of the model and the rows of the dataset (or max_steps)"
EXPECTED = [
    (
        "hardware.max_hours",
        "the run is expected to take 1 h 25 min (44 min to 5 h 19 min) on l4x1, above max_hours=0.5",
        'hardware=hft.Hardware(flavor="auto", max_hours=0.5)',
    )
]
