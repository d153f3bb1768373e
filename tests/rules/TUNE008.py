from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"method": "reward", "lora": {"adapter": "me/sft"}}
GOOD = {"method": "dpo", "lora": {"adapter": "me/sft"}}
FACTS = Facts(adapter=ModelFacts(exists=True, task_type="CAUSAL_LM"))
EXPECTED = [
    (
        "lora.adapter",
        (
            "me/sft is an adapter of the type CAUSAL_LM, and Reward trains SEQ_CLS: merge it, and set model to "
            "the merged model"
        ),
        "",
    )
]
UNCHECKED = "the adapter me/sft"
