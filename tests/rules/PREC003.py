from __future__ import annotations

BAD = {"dtype": "float16", "fp16": True, "hardware": "t4-small"}
GOOD = {"dtype": "float16", "fp16": True, "lora": {}, "hardware": "t4-small"}
EXPECTED = [("dtype", "fp16 arithmetic cannot train weights that are float16 themselves", 'dtype="float32"')]
