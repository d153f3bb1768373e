from __future__ import annotations

BAD = {
    "lora": {},
    "gradient_checkpointing_kwargs": {"selective": True},
    "hardware": {"strategy": "zero3"},
}
GOOD = {
    "lora": {},
    "gradient_checkpointing_kwargs": {"selective": True},
    "hardware": {"strategy": "zero2"},
}
EXPECTED = [
    (
        "gradient_checkpointing_kwargs",
        "ZeRO-3 with an adapter recomputes whole layers",
        "gradient_checkpointing_kwargs={}",
    )
]
