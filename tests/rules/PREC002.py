from __future__ import annotations

BAD = {"bf16": True, "dtype": "bfloat16", "tf32": True, "bf16_full_eval": True, "hardware": "t4-small"}
GOOD = {"fp16": True, "hardware": "t4-small"}
EXPECTED = [
    (
        "bf16",
        "the NVIDIA T4 of t4-small has no bfloat16 arithmetic",
        'fp16=True, or hardware="l4x1", or another flavor with a newer GPU',
    ),
    (
        "bf16_full_eval",
        "the NVIDIA T4 of t4-small has no bfloat16 arithmetic",
        'fp16_full_eval=True, or hardware="l4x1", or another flavor with a newer GPU',
    ),
    (
        "dtype",
        "the NVIDIA T4 of t4-small has no bfloat16 arithmetic",
        'dtype="float32", or hardware="l4x1", or another flavor with a newer GPU',
    ),
    (
        "tf32",
        "the NVIDIA T4 of t4-small has no TF32",
        'remove tf32, or hardware="l4x1", or another flavor with a newer GPU',
    ),
]
