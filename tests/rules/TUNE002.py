from __future__ import annotations

BAD = {"lora": {"adapter": "me/adapter", "r": 64}}
GOOD = {"lora": {"adapter": "me/adapter"}}
EXPECTED = [
    (
        "lora.r",
        "is fixed by the adapter that training continues (merge_first=True trains a new one)",
        'lora=hft.LoRA(adapter="me/adapter")',
    )
]
