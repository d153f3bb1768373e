from __future__ import annotations

BAD = {"method": "ppo", "reward_model": "me/reward", "hardware": {"strategy": "fsdp2"}}
GOOD = {"method": "ppo", "reward_model": "me/reward", "hardware": {"strategy": "ddp"}}
EXPECTED = [("hardware.strategy", "PPO's models cannot be sharded", 'hardware=hft.Hardware(strategy="auto")')]
