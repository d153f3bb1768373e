from __future__ import annotations

BAD = {"lora": {"target_modules": ["q_proj", "lm_head"]}}
GOOD = {"lora": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}}
EXPECTED = [
    ("lora.target_modules", "TRL does not support an adapter on lm_head", 'lora=hft.LoRA(target_modules=["q_proj"])'),
]
