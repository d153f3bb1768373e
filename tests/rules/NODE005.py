from __future__ import annotations

from typing import Any

_VLLM: dict[str, Any] = {"method": "grpo", "use_vllm": True, "hardware": {"flavor": "a100x4", "nodes": 2}}
BAD = {**_VLLM, "vllm_mode": "server"}
GOOD = {**_VLLM, "vllm_mode": "colocate"}
EXPECTED = [
    (
        "vllm_mode",
        "the GPUs set aside for a server would idle on 1 of 2 nodes",
        'vllm_mode="colocate", or nodes=1',
    ),
]
