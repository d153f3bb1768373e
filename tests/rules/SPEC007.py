from __future__ import annotations

BAD = {"hub_model_id": "me/a", "output": {"hub_model_id": "me/b"}, "lora": {"alpha": 8, "lora_alpha": 16}}
GOOD = {"hub_model_id": "me/a", "output": {"hub_model_id": "me/a"}, "lora": {"alpha": 8, "lora_alpha": 8}}
EXPECTED = [
    ("hub_model_id", "output.hub_model_id is given as well, with another value: give one of them", ""),
    ("lora", "alpha and lora_alpha are the same setting, given with different values: give one of them", ""),
]
