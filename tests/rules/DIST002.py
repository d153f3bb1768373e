from __future__ import annotations

BAD = {"quantization": "4bit", "lora": {}, "hardware": {"strategy": "zero3"}}
GOOD = {"quantization": "4bit", "lora": {}, "hardware": {"strategy": "zero2"}}
EXPECTED = [
    (
        "hardware.strategy",
        "zero3 would shard quantized weights apart from their scales",
        'hardware=hft.Hardware(strategy="auto")',
    )
]
