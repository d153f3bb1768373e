from __future__ import annotations

BAD = ("sft.yaml", "model_name_or_path: me/model\ndataset_name: me/data\nlora_r: 8\nmachine_rank: 1\n")
GOOD = ("sft.yaml", "model_name_or_path: me/model\ndataset_name: me/data\nlora_r: 8\nuse_peft: true\n")
EXPECTED = [
    ("lora", "lora_r without use_peft: TRL would train all weights; add use_peft, or remove them", ""),
    ("machine_rank", "remove it: each machine finds its own rank", ""),
]
