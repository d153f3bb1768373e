from __future__ import annotations

BAD = {"lora": {"layers_pattern": "layers"}}
GOOD = {"lora": {"layers_pattern": "layers", "layers_to_transform": [0, 1]}}
EXPECTED = [
    ("lora.layers_pattern", "names the layers of layers_to_transform, which is not given", "leave it out"),
]
