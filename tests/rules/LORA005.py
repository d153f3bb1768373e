from __future__ import annotations

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_MOE

FACTS = Facts(model=QWEN_MOE)
BAD = {"lora": {"target_modules": ["up_proj", "down_proj"], "lora_dropout": 0.1, "use_dora": True}}
GOOD = {"lora": {"target_modules": ["gate_proj", "up_proj", "down_proj"]}}
UNCHECKED = "the names of the modules of me/model"
FIX = 'lora=hft.LoRA(target_modules=["up_proj", "down_proj", "gate_proj"])'
EXPECTED = [
    ("lora.target_modules", 'PEFT adapts "up_proj" of the experts only together with "gate_proj"', FIX),
    ("lora.use_dora", "PEFT has no DoRA for experts", FIX),
    ("lora.lora_dropout", "PEFT has no dropout for experts, which these targets reach", FIX),
]
