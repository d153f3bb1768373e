from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True, "vllm_max_model_length": 1024, "max_completion_length": 1024}
GOOD = BAD | {"vllm_max_model_length": 2048}
EXPECTED = [
    (
        "vllm_max_model_length",
        "an answer of up to 1024 tokens leaves no room for its prompt in a context of 1024",
        "vllm_max_model_length=2048",
    )
]
