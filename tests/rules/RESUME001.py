from __future__ import annotations

BACKEND = "local"
BAD = {"hub_strategy": "checkpoint"}
GOOD = {"hub_strategy": "checkpoint", "output": {"hub_model_id": "me/model"}}
EXPECTED = [
    (
        "output.checkpoints",
        "they are kept in the model's repository, and the model is not pushed",
        "output=hft.Output()",
    )
]
