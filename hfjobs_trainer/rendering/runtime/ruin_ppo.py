"""Signs of ruin of a trainer that takes its steps in a loop of its own: PPO."""

import math
from typing import Any

from hfjobs_trainer.rendering.runtime.ruin import BROKEN
from hfjobs_trainer.rendering.runtime.stopping import Stop


def watch_losses(trainer: Any, stop: Stop) -> None:
    """Look at the losses that are logged for each step, before its end."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            losses = [v for name, v in kwargs["logs"].items() if name[:5] == "loss/"]
            if losses:
                stop.suspect = not math.isfinite(sum(losses))
                why = "learning_rate is too high, or the reward model gives NaN"
                what, step = "the loss is not finite", state.global_step
                stop.see(what, stop.suspect, step, why, end=BROKEN)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if stop.suspect:  # no good checkpoint makes room for it
                control.should_save = False

    trainer.add_callback(Watch())
