from __future__ import annotations

BAD = {"global_batch_size": 30, "per_device_train_batch_size": 8, "hardware": "a10g-largex2"}
GOOD = {"global_batch_size": 32, "per_device_train_batch_size": 8, "hardware": "a10g-largex2"}
EXPECTED = [("global_batch_size", "30 is not a multiple of 8 per device on 2 GPUs", "global_batch_size=32")]
