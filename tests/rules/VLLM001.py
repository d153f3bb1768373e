from __future__ import annotations

BAD = {"method": "grpo", "use_vllm": True, "vllm_tensor_parallel_size": 3, "hardware": "a10g-largex4"}
GOOD = BAD | {"vllm_tensor_parallel_size": 2}
EXPECTED = [
    ("vllm_tensor_parallel_size", "3 does not divide the 4 GPUs that train", "vllm_tensor_parallel_size=2"),
]
