"""Training, to its end or to an early one."""

from typing import Any

from hfjobs_trainer.rendering.runtime.conclude import assert_trained
from hfjobs_trainer.rendering.runtime.stopping import Stop


def train(trainer: Any, stop: Stop, **options: Any) -> None:
    """Train, from the newest checkpoint; end the process where the run was stopped.

    Args:
        trainer: The trainer.
        stop: What may end the run early.
        options: What `trainer.train()` takes, where this run has no checkpoint.
    """
    from transformers import TrainerCallback

    class Settle(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.model.train()  # or GKD's first answers are without dropout

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stop.settle(state, control)

    trainer.add_callback(Settle())  # the last one, after all that may ask
    if stop.keeper and (path := stop.keeper.resume()):
        options["resume_from_checkpoint"] = path
    try:
        trainer.train(**options)
    except BaseException:
        if stop.keeper:
            stop.keeper.finish()  # what was saved before outlives it
        raise
    if stop.step is not None:
        stop.leave()
    assert_trained(trainer)
