from __future__ import annotations

BAD = {"hub_token": "x", "do_train": True, "local_rank": 0, "model_init_kwargs": {"device_map": "auto"}}
GOOD = {"trackio_static_space_id": False}
EXPECTED = [
    (
        "hub_token",
        (
            "it would be written into the script; HF_TOKEN of your environment is used, or the token that you "
            "logged in with"
        ),
        "hf auth login",
    ),
    ("do_train", "remove it: TRL's trainers ignore it, and the script always trains", ""),
    ("local_rank", "remove it: the launcher gives each process its rank", ""),
    (
        "model_init_kwargs.device_map",
        "the script places the model itself, one copy on each GPU",
        "model_init_kwargs=None",
    ),
]
