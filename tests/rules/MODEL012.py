from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"method": "grpo", "use_vllm": True, "vllm_max_model_length": 65536}
GOOD = {"method": "grpo", "use_vllm": True, "vllm_max_model_length": 65536}
FACTS = Facts(model=ModelFacts(exists=True, model_type="qwen2", max_position_embeddings=32768))
GOOD_FACTS = Facts(
    model=ModelFacts(exists=True, model_type="qwen2", max_position_embeddings=32768, rope_type="yarn", rope_factor=4.0)
)
UNCHECKED = "the files of me/model"
EXPECTED = [
    (
        "vllm_max_model_length",
        "a context of 65536 tokens is more than the 32768 of me/model",
        "vllm_max_model_length=32768",
    )
]
