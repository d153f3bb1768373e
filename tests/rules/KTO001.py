from __future__ import annotations

BAD = {"method": "kto", "per_device_train_batch_size": 1, "train_sampling_strategy": "random"}
GOOD = {"method": "kto", "per_device_train_batch_size": 1, "loss_type": "apo_zero_unpaired"}
EXPECTED = [
    ("per_device_train_batch_size", "a row needs another one beside it in its batch", "per_device_train_batch_size=2"),
    (
        "train_sampling_strategy",
        "rows are paired with their neighbours before training starts; the script shuffles them before that",
        "train_sampling_strategy=None",
    ),
]
