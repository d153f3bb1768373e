from __future__ import annotations

BAD = {"method": "dpo", "loss_type": "exo_pair"}
GOOD = {"method": "dpo", "loss_type": "exo_pair", "label_smoothing": 1e-3}
EXPECTED = [
    ("label_smoothing", 'must be above 0 for the loss "exo_pair"', "label_smoothing=1e-3"),
]
