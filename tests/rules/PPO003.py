from __future__ import annotations

BAD = {"method": "ppo", "per_device_train_batch_size": 4, "num_mini_batches": 3}
GOOD = {"method": "ppo", "per_device_train_batch_size": 4, "num_mini_batches": 2}
EXPECTED = [("num_mini_batches", "4 answers are generated at once", "num_mini_batches=2")]
