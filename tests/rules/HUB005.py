from __future__ import annotations

BAD = {"model": "Qwen/Qwen2.5-0.5B", "namespace": "me"}
GOOD = {"output": {"hub_model_id": "me/model"}}
EXPECTED = [
    (
        "output",
        "the model is not pushed, and the machine's disk is gone when the job ends",
        'output=hft.Output(hub_model_id="me/Qwen2.5-0.5B-sft")',
    ),
]
