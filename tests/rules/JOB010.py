from __future__ import annotations

BAD = {"hardware": {"attempts": 2, "ssh": True, "expose": [8000], "num_gpus": 1}}
GOOD = {"hardware": {"num_gpus": 1}}
BACKEND = "local"
EXPECTED = [
    (
        "hardware",
        "attempts and ssh and expose: only Jobs offer that, so it is ignored here",
        "hardware=hft.Hardware(num_gpus=1)",
    )
]
