from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True, "model_revision": "v2"}
GOOD = BAD | {"vllm_mode": "server"}
EXPECTED = [
    (
        "model_revision",
        "does not reach a vLLM in the training processes, which reads the default branch",
        'vllm_mode="server", or a repository whose default branch it is',
    ),
]
