from __future__ import annotations

BAD = {"bf16": True, "dtype": "bfloat16", "tf32": True, "bf16_full_eval": True, "hardware": "t4-small"}
GOOD = {"fp16": True, "hardware": "t4-small"}
EXPECTED = [
    ("bf16", "the NVIDIA T4 of t4-small has no bfloat16 arithmetic", "bf16=None, fp16=True"),
    (
        "bf16_full_eval",
        "the NVIDIA T4 of t4-small has no bfloat16 arithmetic",
        "bf16_full_eval=False, fp16_full_eval=True",
    ),
    ("dtype", "the NVIDIA T4 of t4-small has no bfloat16 arithmetic", 'dtype="float32"'),
    ("tf32", "the NVIDIA T4 of t4-small has no TF32", "tf32=None"),
]
