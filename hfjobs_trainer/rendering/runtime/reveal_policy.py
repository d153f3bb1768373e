"""What PPO's trainer lacks to save its policy where several processes train."""

from typing import Any


def reveal_policy(trainer: Any) -> None:
    """Let the trainer find its policy inside what wraps it for several processes.

    Without, it would end at the first checkpoint, and save the value model along.
    """
    # What transformers' own trainer would have set, and reads in all but the first.
    trainer.is_distributed_loading_by_transformers = False
    wrapped: Any = trainer.model
    inner = trainer.accelerator.unwrap_model(wrapped)
    if inner is not wrapped:
        # Not as attributes, by which torch would count the weights twice.
        wrapped.__dict__.update(config=inner.config, policy=inner.policy)
