from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"hardware": "a10g-large"}
GOOD = {"trust_remote_code": True}
FACTS = Facts(
    model=ModelFacts(
        exists=True,
        model_type="own",
        architectures=("OwnForCausalLM",),
        auto_classes=("AutoConfig", "AutoModelForCausalLM"),
    )
)
EXPECTED = [
    (
        "model",
        "me/model is loaded by code of its own, which runs only if you trust it",
        "trust_remote_code=True",
    )
]
