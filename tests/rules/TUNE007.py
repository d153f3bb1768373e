from __future__ import annotations

BAD = {"quantization": "4bit", "lora": {}, "hardware": "t4-small"}
GOOD = {"quantization": "4bit", "lora": {}, "hardware": "l4x1"}
EXPECTED = [
    (
        "quantization",
        "TRL keeps the adapter of a quantized model in bfloat16, in which NVIDIA T4 does not compute",
        'hardware="l4x1"',
    ),
]
