"""PPO's policy, inside what wraps it where several processes train."""

from typing import Any


def reveal_policy(trainer: Any) -> None:
    """Let the trainer find its policy, which it looks for to save it.

    Without, it would end at the first checkpoint, and save the value model along.
    """
    wrapped: Any = trainer.model
    inner = trainer.accelerator.unwrap_model(wrapped)
    if inner is not wrapped:
        # not as attributes, by which torch would count the weights twice
        wrapped.__dict__.update(config=inner.config, policy=inner.policy)
