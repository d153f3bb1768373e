from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"lora": {"target_modules": [], "layers_to_transform": [99]}}
GOOD = {"lora": {"target_modules": ["q_proj"], "layers_to_transform": [0, 99]}}
FACTS = Facts(model=ModelFacts(num_hidden_layers=24))
UNCHECKED = "the number of layers of me/model"
EXPECTED = [
    ("lora.target_modules", "names no module", "lora=hft.LoRA(layers_to_transform=[99])"),
    (
        "lora.layers_to_transform",
        "the model has the layers 0 to 23",
        "lora=hft.LoRA(target_modules=[], layers_to_transform=[23])",
    ),
]
