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


def heed_stop(trainer: Any) -> None:
    """Let the trainer end when it is asked to, which its own loop never looks for."""
    on_step_end, train = trainer.callback_handler.on_step_end, trainer.train
    ended = StopIteration("asked to")

    def look(args: Any, state: Any, control: Any) -> Any:
        control = on_step_end(args, state, control)
        if control.should_training_stop and state.global_step < state.max_steps:
            raise ended
        return control

    def run(**options: Any) -> None:
        try:
            train(**options)
        except StopIteration as error:
            if error is not ended:
                raise

    trainer.callback_handler.on_step_end, trainer.train = look, run
