from __future__ import annotations

BAD = {
    "method": "ppo",
    "hardware": {"flavor": "a100-large", "attempts": 2},
    "output": {"hub_model_id": "me/model", "checkpoints": "hub"},
}
GOOD = {"method": "ppo", "hardware": "a100-large", "output": {"hub_model_id": "me/model"}}
EXPECTED = [
    (
        "hardware.attempts",
        "the trainer of PPO cannot go on from a checkpoint: each of 2 attempts begins anew",
        'hardware="a100-large"',
    ),
    (
        "output.checkpoints",
        "the trainer of PPO cannot go on from a checkpoint",
        'output=hft.Output(hub_model_id="me/model")',
    ),
]
