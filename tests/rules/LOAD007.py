from __future__ import annotations

COMMON = (
    "model_name_or_path: me/model\ndataset_name: me/data\nlogging_steps: 1\nbf16: true\ngradient_checkpointing: true\n"
)
BAD = ("sft.yaml", f"{COMMON}warmup_ratio: 0.1\noverwrite_output_dir: true\n")
GOOD = ("sft.yaml", f"{COMMON}warmup_steps: 0.1\n")
EXPECTED = [
    ("warmup_ratio", "warmup_ratio: 0.1; a number below 1 is a share", "warmup_steps=0.1"),
    ("overwrite_output_dir", "overwrite_output_dir: True; transformers dropped it", ""),
]
