"""Training, to its end or to an early one."""

from typing import Any

from hfjobs_trainer.rendering.runtime.conclude import assert_trained
from hfjobs_trainer.rendering.runtime.ruin import refuse_broken_weights
from hfjobs_trainer.rendering.runtime.stopping import Stop


def train(trainer: Any, stop: Stop, **options: Any) -> None:
    """Train; end the process where the run was stopped early.

    Args:
        trainer: The trainer.
        stop: What may end the run early.
        options: What `trainer.train()` takes.
    """
    from transformers import TrainerCallback

    class Settle(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stop.settle(state, control)

    trainer.add_callback(Settle())  # the last one, after all that may ask
    trainer.train(**options)
    refuse_broken_weights(trainer, stop)
    if stop.step is not None:
        stop.leave()
    assert_trained(trainer)
