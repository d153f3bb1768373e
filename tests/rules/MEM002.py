from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_7B

BAD = {"hardware": "a10g-large", "lora": {}, "per_device_train_batch_size": 8}
GOOD = {"hardware": "a10g-large", "lora": {}, "per_device_train_batch_size": 1}
FACTS = Facts(model=QWEN_7B)
UNCHECKED = "the size of me/model"
EXPECTED = [
    (
        "hardware.flavor",
        "a10g-large is tight: 2.8 GiB free at the estimated peak, 4.4 GiB are advised",
        "per_device_train_batch_size=4, gradient_accumulation_steps=2",
    ),
]
