from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_7B

BAD = {"hardware": "a10g-large"}
GOOD = {"hardware": "a10g-large", "lora": {}, "per_device_train_batch_size": 1}
FACTS = Facts(model=QWEN_7B)
UNCHECKED = "the size of me/model"
EXPECTED = [
    (
        "hardware.flavor",
        "does not fit: needs about 120.6 GiB, a GPU of a10g-large has 22.2 GiB",
        "lora=hft.LoRA()",
    ),
]
