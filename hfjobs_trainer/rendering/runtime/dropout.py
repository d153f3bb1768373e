"""Answers that are written with dropout, as in training, from the first one on."""

from typing import Any


def begin_in_training_mode(trainer: Any) -> None:
    """Have GKD write its first answers, too, and those after evaluations as such."""
    from transformers import TrainerCallback

    class Mode(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.model.train()

    trainer.add_callback(Mode())
