from __future__ import annotations

BAD = {"method": "grpo", "per_device_train_batch_size": 4, "hardware": "l4x4"}
GOOD = {"method": "grpo", "per_device_train_batch_size": 4, "hardware": "l4x4", "global_batch_size": 64}
EXPECTED = [
    (
        "global_batch_size",
        "an optimizer step has the answers to 2 prompts: 4 per device x 1 x 4 GPUs, 8 answers per prompt; recipes use "
        "16 to 64 prompts",
        "global_batch_size=256",
    ),
]
