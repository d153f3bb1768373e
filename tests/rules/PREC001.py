from __future__ import annotations

BAD = {"bf16": True, "fp16": True, "bf16_full_eval": True, "fp16_full_eval": True}
GOOD = {"bf16": False, "fp16": True}
EXPECTED = [
    ("fp16", "bf16=True is also given; with neither, the GPU decides", "bf16=None, fp16=None"),
    ("fp16_full_eval", "bf16_full_eval=True is also given", "fp16_full_eval=False"),
]
