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
    ("model", '"my model" is not a repository id, which is namespace/name; a path here begins with ./', ""),
    ("output.hub_model_id", '"model" is not of the form namespace/name', ""),
    (
        "tracking.space_id",
        '"me/track io" is not of the form name or namespace/name',
        'tracking=hft.Tracking(space_id="me/track-io")',
    ),
]
