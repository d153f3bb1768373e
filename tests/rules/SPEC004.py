from __future__ import annotations

BAD = {"learning_rat": 1e-5, "betta": 0.1, "lora": {"rank": 8}, "output": {"hub_id": "me/model"}}
GOOD = {"method": "dpo", "learning_rate": 1e-5, "beta": 0.1, "lora": {"alpha": 8}}
EXPECTED = [
    ("learning_rat", "not an argument of SFTConfig (TRL 1.16.0); learning_rate is", "learning_rate=1e-5"),
    ("betta", "not an argument of SFTConfig (TRL 1.16.0)", ""),
    (
        "lora.rank",
        (
            "not a field of lora; its fields are r, lora_alpha, lora_dropout, target_modules, modules_to_save, "
            "exclude_modules, target_parameters, bias, use_rslora, use_dora, init_lora_weights, "
            "layers_to_transform, layers_pattern, rank_pattern, alpha_pattern, trainable_token_indices, "
            "ensure_weight_tying, adapter, adapter_revision, merge_first, task_type, alpha, dropout, lora_r"
        ),
        "",
    ),
    (
        "output.hub_id",
        "not a field of output; its fields are push_to_hub, hub_model_id, private, hub_strategy, checkpoints, "
        "merge_adapter",
        'output={"hub_model_id": "me/model"}',
    ),
]
