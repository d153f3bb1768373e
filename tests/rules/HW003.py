from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import LLAMA_70B, QWEN_7B

BAD = {"max_length": 1024}
GOOD = {"lora": {}, "per_device_train_batch_size": 1}
FACTS = Facts(model=LLAMA_70B)
GOOD_FACTS = Facts(model=QWEN_7B)
EXPECTED = [
    (
        "hardware.flavor",
        "no flavor fits; the closest, h200x8: needs 146.0 GiB plus 29.7 GiB of margin "
        "with 1 per device, a GPU has 139.7 GiB",
        "lora=hft.LoRA()",
    ),
]
