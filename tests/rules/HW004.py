from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts
from tests.planning.known_models import QWEN_05B

BAD = {"hardware": "auto"}
GOOD = {"hardware": "auto"}
FACTS = Facts(model=ModelFacts(exists=True))
GOOD_FACTS = Facts(model=QWEN_05B)
UNCHECKED = "the size of me/model"
EXPECTED = [
    (
        "hardware.flavor",
        "no flavor can be chosen without the size of me/model",
        'hardware="a10g-large"',
    ),
]
