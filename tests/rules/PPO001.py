from __future__ import annotations

BAD = {"method": "ppo", "max_steps": 100, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
GOOD = {"method": "ppo", "total_episodes": 800}
EXPECTED = [
    (
        "max_steps",
        "PPOTrainer ignores it: it counts the answers of all GPUs (here of one)",
        "total_episodes=800, max_steps=None",
    )
]
