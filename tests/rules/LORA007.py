from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

FACTS = Facts(model=ModelFacts(exists=True, model_type="falcon", num_hidden_layers=32))
BAD = {"lora": {"layers_to_transform": [30, 31]}}
GOOD = {"lora": {"layers_to_transform": [30, 31], "target_modules": ["query_key_value"]}}
UNCHECKED = "the names of the modules of me/model"
EXPECTED = [
    (
        "lora.target_modules",
        "is needed beside layers_to_transform: the names of the linear layers of a falcon model are not known",
        "",
    ),
]
