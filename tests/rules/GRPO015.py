from __future__ import annotations

BAD = {
    "method": "grpo",
    "use_vllm": True,
    "loss_type": "vespo",
    "log_completions_hub_repo": "me/completions",
    "vllm_importance_sampling_clip_min": 3.0,
    "vllm_importance_sampling_clip_max": 2.0,
    "vllm_importance_sampling_mode": "sequence_mask",
}
GOOD = {
    "method": "grpo",
    "use_vllm": True,
    "loss_type": "vespo",
    "log_completions": True,
    "log_completions_hub_repo": "me/completions",
    "vllm_importance_sampling_clip_min": 0.5,
    "vllm_importance_sampling_mode": "token_mask",
}
EXPECTED = [
    ("log_completions_hub_repo", "no completions are logged", "log_completions=True"),
    (
        "vllm_importance_sampling_clip_min",
        "3 is not below the upper bound, 2",
        "vllm_importance_sampling_clip_min=None",
    ),
    (
        "vllm_importance_sampling_mode",
        'the loss "vespo" corrects token by token',
        'vllm_importance_sampling_mode="token_mask"',
    ),
]
