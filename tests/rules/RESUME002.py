from __future__ import annotations

BAD = {"hardware": {"flavor": "l4x1", "attempts": 3}, "output": {"checkpoints": None, "hub_model_id": "me/model"}}
GOOD = {"hardware": {"flavor": "l4x1", "attempts": 3}}
EXPECTED = [
    (
        "output.checkpoints",
        "without checkpoints, each of 3 attempts would begin anew",
        'output=hft.Output(hub_model_id="me/model")',
    )
]
