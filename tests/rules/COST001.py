from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
BAD = {"hardware": {"flavor": "h200x8", "max_usd": 0.5}}
GOOD = {"hardware": {"flavor": "auto", "max_usd": 5.0}}
UNCHECKED = "the size of the model and the rows of the dataset (or max_steps)"
EXPECTED = [
    (
        "hardware.max_usd",
        (
            "the run is expected to cost $4.00 on h200x8 (5 min (89 s to 20 min)), above max_usd=0.5; a100-large "
            "takes about $0.92, 21 min (8 min to 46 min)"
        ),
        'hardware=hft.Hardware(flavor="a100-large", max_usd=0.97)',
    )
]
