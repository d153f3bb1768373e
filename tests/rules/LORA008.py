from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_MOE

FACTS = Facts(model=QWEN_MOE)
BAD = {"lora": {"layers_to_transform": [46, 47], "target_modules": ["q_proj", "gate_proj", "up_proj"]}}
GOOD = {"lora": {"layers_to_transform": [46, 47], "target_modules": ["q_proj"]}}
UNCHECKED = "the names of the modules of me/model"
EXPECTED = [
    (
        "lora.layers_to_transform",
        'does not hold for experts and their router: PEFT adapts "gate_proj" and "up_proj" in every layer',
        'lora=hft.LoRA(target_modules=["q_proj"], layers_to_transform=[46, 47])',
    ),
]
