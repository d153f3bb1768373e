from __future__ import annotations

BAD = {"lora": {"layers_pattern": "layers"}}
GOOD = {"lora": {"layers_pattern": "layers", "layers_to_transform": [0, 1]}}
EXPECTED = [
    ("lora.layers_pattern", "needs layers_to_transform", "lora=hft.LoRA()"),
]
