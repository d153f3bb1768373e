from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_7B

FACTS = Facts(model=QWEN_7B)
BAD = {"method": "dpo", "lora": {}}
GOOD = {"method": "dpo", "lora": {}, "learning_rate": 5e-6}
EXPECTED = [
    (
        "learning_rate",
        "TRL's default of 1e-6 is for training all weights and hardly moves an adapter: recipes use 5e-6 to 1e-5",
        "learning_rate=5e-6",
    ),
]
