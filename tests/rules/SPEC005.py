from __future__ import annotations

BAD = {
    "max_seq_length": 512,
    "evaluation_strategy": "steps",
    "warmup_ratio": 0.1,
    "overwrite_output_dir": True,
    "max_prompt_length": 128,
    "push_to_hub_model_id": "model",
    "model_init_kwargs": {"torch_dtype": "bfloat16"},
}
GOOD = {"max_length": 512, "warmup_steps": 0.1, "dtype": "bfloat16"}
EXPECTED = [
    ("max_seq_length", "is no argument of SFTConfig in TRL today", "use max_length"),
    ("evaluation_strategy", "is no argument of SFTConfig in TRL today", "use eval_strategy"),
    (
        "warmup_ratio",
        "is no argument of SFTConfig in TRL today",
        "use warmup_steps, which takes a fraction below 1 as well as a number of steps",
    ),
    (
        "overwrite_output_dir",
        "is no argument of SFTConfig in TRL today",
        "leave it out: it was removed from transformers",
    ),
    (
        "max_prompt_length",
        "is no argument of SFTConfig in TRL today",
        "use max_length, which covers prompt and completion",
    ),
    ("push_to_hub_model_id", "is no argument of SFTConfig in TRL today", "use hub_model_id"),
    ("model_init_kwargs.torch_dtype", "TRL ignores it in silence and loads float32", 'use dtype="bfloat16"'),
]
