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
    ("max_seq_length", "not an argument of SFTConfig (TRL 1.16.0)", "use max_length"),
    ("evaluation_strategy", "not an argument of SFTConfig (TRL 1.16.0)", "use eval_strategy"),
    (
        "warmup_ratio",
        "not an argument of SFTConfig (TRL 1.16.0)",
        "use warmup_steps, which takes a fraction below 1 as well as a number of steps",
    ),
    (
        "overwrite_output_dir",
        "not an argument of SFTConfig (TRL 1.16.0)",
        "remove it: transformers dropped it",
    ),
    (
        "max_prompt_length",
        "not an argument of SFTConfig (TRL 1.16.0)",
        "use max_length, which covers prompt and completion",
    ),
    ("push_to_hub_model_id", "not an argument of SFTConfig (TRL 1.16.0)", "use hub_model_id"),
    ("model_init_kwargs.torch_dtype", "TRL silently ignores it and loads float32", 'use dtype="bfloat16"'),
]
