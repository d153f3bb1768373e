from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_05B

BAD = {"hardware": "auto"}
GOOD = {"hardware": "auto"}
GOOD_FACTS = Facts(model=QWEN_05B)
EXPECTED = [
    (
        "hardware.flavor",
        "no flavor can be chosen without the size of me/model",
        'hardware="a10g-large", or another of hft.hardware_table()',
    ),
]
