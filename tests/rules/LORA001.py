from __future__ import annotations

BAD = {"lora": {"target_modules": ["q_proj", "lm_head"]}}
GOOD = {"lora": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}}
EXPECTED = [
    ("lora.target_modules", "an adapter on lm_head would not be trained", "target_modules=['q_proj']"),
]
