from __future__ import annotations

BAD = {"method": "dpo"}
GOOD = {"method": "dpo", "num_train_epochs": 1}
EXPECTED = [
    (
        "num_train_epochs",
        "3 epochs, TRL's default, over the same pairs: recipes make 1",
        "num_train_epochs=1",
    ),
]
