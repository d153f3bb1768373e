from __future__ import annotations

BAD = {"method": "dpo", "padding_free": True}
GOOD = {"method": "dpo"}
EXPECTED = [
    ("padding_free", "is ignored by the DPO trainer of the pinned TRL", "leave it out"),
]
