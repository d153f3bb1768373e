from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
BAD = {"hardware": {"flavor": "h200x8", "max_usd": 0.5}}
GOOD = {"hardware": {"flavor": "auto", "max_usd": 5.0}}
UNCHECKED = "the rows of the dataset (or max_steps)"
