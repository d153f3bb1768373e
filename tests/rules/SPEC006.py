from __future__ import annotations

BAD = {"hub_token": "x", "do_train": True, "local_rank": 0, "model_init_kwargs": {"device_map": "auto"}}
GOOD = {"trackio_static_space_id": False}
EXPECTED = [
    (
        "hub_token",
        "a token would be written into the script",
        "set HF_TOKEN in your environment or run `hf auth login`",
    ),
    ("do_train", "TRL's trainers ignore it; the script always trains", "remove it"),
    ("local_rank", "the launcher gives each process its rank", "remove it"),
    ("model_init_kwargs.device_map", "the script places the model itself, one copy on each GPU", "remove it"),
]
