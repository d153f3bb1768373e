from __future__ import annotations

BAD = {"quantization": "4bit", "lora": {}, "hardware": "t4-small"}
GOOD = {"quantization": "4bit", "lora": {}, "hardware": "l4x1"}
EXPECTED = [
    (
        "quantization",
        (
            "TRL keeps the adapter of a quantized model in bfloat16, which fp16 arithmetic cannot train; NVIDIA "
            "T4 has no bfloat16"
        ),
        'hardware="l4x1"',
    )
]
