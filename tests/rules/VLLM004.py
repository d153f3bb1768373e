from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True, "vllm_mode": "server", "hardware": "a100-large"}
GOOD = BAD | {"hardware": "a100x4"}
EXPECTED = [("vllm_mode", "the server takes a GPU of its own, and a100-large has 1 in all", 'vllm_mode="colocate"')]
