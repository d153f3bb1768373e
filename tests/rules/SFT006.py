from __future__ import annotations

BAD = {
    "gradient_checkpointing": False,
    "gradient_checkpointing_kwargs": {"selective": True, "use_reentrant": True},
}
GOOD = {"gradient_checkpointing_kwargs": {"selective": True}}
EXPECTED = [
    ("gradient_checkpointing", "selective checkpointing needs it", "gradient_checkpointing=True"),
    (
        "gradient_checkpointing_kwargs",
        "selective checkpointing cannot be re-entrant",
        'gradient_checkpointing_kwargs={"selective": True}',
    ),
]
