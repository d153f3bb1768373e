from __future__ import annotations

BAD = {"method": "dpo", "padding_free": True}
GOOD = {"method": "dpo"}
EXPECTED = [("padding_free", "is ignored by DPOTrainer (TRL 1.16)", "padding_free=False")]
