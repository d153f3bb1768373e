from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

FACTS = Facts(model=ModelFacts(exists=True, model_type="qwen2", num_parameters=14_770_033_664))
BAD = {
    "method": "grpo",
    "use_vllm": True,
    "vllm_mode": "server",
    "lora": {},
    "quantization": "4bit",
    "hardware": "a10g-largex4",
}
GOOD = BAD | {"vllm_tensor_parallel_size": 2}
UNCHECKED = "the size of me/model"
EXPECTED = [
    (
        "vllm_tensor_parallel_size",
        "27.5 GiB of weights would go on a GPU of a10g-largex4, but the server may use only 20.0 GiB of it",
        'hardware="auto"',
    )
]
