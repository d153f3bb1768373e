from __future__ import annotations

BAD = {"method": "dpo", "loss_type": "exo_pair"}
GOOD = {"method": "dpo", "loss_type": "exo_pair", "label_smoothing": 1e-3}
EXPECTED = [
    ("label_smoothing", 'the loss "exo_pair" needs it above 0', "label_smoothing=1e-3"),
]
