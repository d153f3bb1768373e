from __future__ import annotations

from typing import Any

from hfjobs_trainer.facts import Facts
from tests.planning.known_models import QWEN_05B

FACTS = Facts(model=QWEN_05B)
BAD: dict[str, Any] = {
    "method": "grpo",
    "use_vllm": True,
    "vllm_mode": "server",
    "vllm_tensor_parallel_size": 1,
    "hardware": {"flavor": "a10g-largex2", "nodes": 3},
}
GOOD = {name: value for name, value in BAD.items() if name != "vllm_tensor_parallel_size"}
EXPECTED = [
    (
        "vllm_tensor_parallel_size",
        "1 of the 2 GPUs of the last node, which serves, would be idle; unset, 2 of them would serve",
        "vllm_tensor_parallel_size=None",
    )
]
