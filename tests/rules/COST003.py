from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
BAD = {"hardware": "l4x1", "timeout": "20m"}
GOOD = {"hardware": "l4x1"}
EXPECTED = [
    (
        "timeout",
        "the run is expected to take 1 h 25 min (44 min to 5 h 19 min), and the job is ended after 25m",
        'timeout="5h19m"',
    )
]
