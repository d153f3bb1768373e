from __future__ import annotations

NODES = {"flavor": "a100x8", "nodes": 2}
BAD = {"hardware": NODES, "output": {"hub_model_id": "me/model", "checkpoints": "hub"}}
GOOD = {"hardware": NODES, "output": {"hub_model_id": "me/model", "checkpoints": "bucket"}}
EXPECTED = [
    (
        "output.checkpoints",
        "2 nodes train, and only the files of the first would be kept",
        'output=hft.Output(hub_model_id="me/model", checkpoints="bucket")',
    )
]
