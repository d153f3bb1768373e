from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True, "model_revision": "v2"}
GOOD = BAD | {"vllm_mode": "server"}
EXPECTED = [
    ("model_revision", "is ignored by vLLM in colocate mode, which reads the default branch", 'vllm_mode="server"')
]
