from __future__ import annotations

BAD = {"lora": {"adapter": "me/adapter", "r": 64}}
GOOD = {"lora": {"adapter": "me/adapter"}}
EXPECTED = [
    ("lora.r", "is fixed in the adapter that is trained on", "leave it out, or merge_first=True for a new adapter"),
]
