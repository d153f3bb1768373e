from __future__ import annotations

BAD = {
    "method": "ppo",
    "resume_from_checkpoint": "out/checkpoint-5",
    "load_best_model_at_end": True,
    "save_strategy": "best",
    "metric_for_best_model": "reward",
    "dataset": {"id": "me/data", "streaming": True},
}
GOOD = {"method": "ppo", "save_steps": 50}
EXPECTED = [
    (
        "resume_from_checkpoint",
        "PPOTrainer cannot resume; a checkpoint's folder can be the model of another run",
        "resume_from_checkpoint=None",
    ),
    ("load_best_model_at_end", "PPOTrainer's own training loop ignores it", "load_best_model_at_end=False"),
    ("save_strategy", "PPOTrainer does not compare checkpoints", 'save_strategy="steps"'),
    ("dataset.streaming", "PPOTrainer needs to know the number of rows", 'dataset="me/data"'),
]
