from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"model": "me/sft", "model_revision": "v1"}
GOOD = {"model": "me/base", "lora": {"adapter": "me/sft"}}
FACTS = Facts(model=ModelFacts(exists=True, adapts="me/base"))
GOOD_FACTS = Facts(model=ModelFacts(exists=True), adapter=ModelFacts(exists=True, task_type="CAUSAL_LM"))
EXPECTED = [
    (
        "model",
        "me/sft is an adapter of me/base",
        'model="me/base", lora=hft.LoRA(adapter="me/sft", adapter_revision="v1"), model_revision=None',
    )
]
