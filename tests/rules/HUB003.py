from __future__ import annotations

BAD = {
    "model": "my model",
    "output": {"hub_model_id": "model"},
    "tracking": {"space_id": "me/track io"},
}
GOOD = {
    "model": "gpt2",
    "output": {"hub_model_id": "me/model"},
    "tracking": {"space_id": "trackio"},
}
EXPECTED = [
    ("model", '"my model" is not a repository id', "namespace/name, or ./my model for a folder here"),
    ("output.hub_model_id", '"model" is not of the form namespace/name', '"username/model"'),
    ("tracking.space_id", '"me/track io" is not of the form name or namespace/name', '"me/track-io"'),
]
