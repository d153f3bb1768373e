from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True, "use_cpu": True}
GOOD = {"method": "grpo", "use_vllm": True}
EXPECTED = [("use_vllm", "vLLM needs a GPU, and use_cpu=True does not use it", "use_vllm=False")]
