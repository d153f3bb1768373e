from __future__ import annotations

BAD = ("sft.yaml", "model_name_or_path: me/model\ndataset_name: me/data\nlora_r: 8\nmachine_rank: 1\n")
GOOD = ("sft.yaml", "model_name_or_path: me/model\ndataset_name: me/data\nlora_r: 8\nuse_peft: true\n")
EXPECTED = [
    (
        "lora",
        "lora_r without use_peft: TRL would train all weights",
        "add --use_peft, or remove the arguments of LoRA",
    ),
    ("machine_rank", "each machine finds its own rank", "remove it"),
]
