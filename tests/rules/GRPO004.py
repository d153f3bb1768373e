from __future__ import annotations

BAD = {"method": "grpo", "sync_ref_model": True, "lora": {}}
GOOD = {"method": "grpo", "sync_ref_model": True, "beta": 0.04}
EXPECTED = [
    ("sync_ref_model", "with beta=0 there is no reference model", "sync_ref_model=False"),
    ("sync_ref_model", "with lora there is no reference model of its own to follow the policy", "sync_ref_model=False"),
]
