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
    ("max_seq_length", "not an argument of SFTConfig (TRL 1.16.0): it is max_length today", "max_length=512"),
    (
        "evaluation_strategy",
        "not an argument of SFTConfig (TRL 1.16.0): it is eval_strategy today",
        'eval_strategy="steps"',
    ),
    (
        "warmup_ratio",
        (
            "not an argument of SFTConfig (TRL 1.16.0): it is warmup_steps today, which takes a share below 1 as "
            "well as a number of steps"
        ),
        "warmup_steps=0.1",
    ),
    ("overwrite_output_dir", "not an argument of SFTConfig (TRL 1.16.0): transformers dropped it; remove it", ""),
    (
        "max_prompt_length",
        "not an argument of SFTConfig (TRL 1.16.0): it is max_length today, which covers prompt and completion",
        "max_length=128",
    ),
    (
        "push_to_hub_model_id",
        "not an argument of SFTConfig (TRL 1.16.0): it is hub_model_id today",
        'hub_model_id="model"',
    ),
    (
        "model_init_kwargs.torch_dtype",
        "TRL silently ignores it and loads float32; dtype is what it means",
        'model_init_kwargs=None, dtype="bfloat16"',
    ),
]
