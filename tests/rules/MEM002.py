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
        "a10g-large is tight: 1.6 GiB free at the estimated peak, 4.6 GiB are advised",
        'quantization="4bit", or a smaller per_device_train_batch_size, or hardware="auto"',
    ),
]
