from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
BAD = {"method": "grpo", "hardware": "h200"}
GOOD = {"method": "grpo", "hardware": "h200", "use_vllm": True}
UNCHECKED = "the size of the model and the rows of the dataset (or max_steps)"
EXPECTED = [
    (
        "use_vllm",
        "generation with transformers is expected to take 99% of 10 d 3 h ($1,215.75) on h200; "
        "with vLLM the run takes 12 h 19 min ($61.58) on h200",
        "use_vllm=True",
    ),
]
