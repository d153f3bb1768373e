from __future__ import annotations

BAD = {"num_train_epochs": 0}
GOOD = {"num_train_epochs": 0, "max_steps": 10}
EXPECTED = [("num_train_epochs", "nothing is trained in 0 epochs", "num_train_epochs=1")]
