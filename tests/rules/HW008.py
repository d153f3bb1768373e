from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import LLAMA_8B

FACTS = Facts(model=LLAMA_8B)
BAD = {"lora": {}, "hardware": "a10g-small"}
GOOD = {"lora": {}, "hardware": "a10g-large"}
EXPECTED = [
    (
        "hardware.flavor",
        "a10g-small needs 19 GB of host memory to load the weights, has 15 GB",
        'hardware="l4x1"',
    ),
]
