from __future__ import annotations

from hfjobs_trainer.facts import Facts, TargetFacts

BAD = {"output": {"hub_model_id": "me/chat"}}
GOOD = {"output": {"hub_model_id": "me/chat"}}
FACTS = Facts(target=TargetFacts("me/chat", exists=True, holds=("model.safetensors",)))
GOOD_FACTS = Facts(target=TargetFacts("me/chat", exists=True, holds=()))
EXPECTED = [
    (
        "output.hub_model_id",
        "me/chat has a model already (model.safetensors), which the push replaces",
        'output=hft.Output(hub_model_id="me/chat-2")',
    )
]
