"""A run that ends before its deadline, and keeps what there is."""

import os
import time
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.card import write_card
from hfjobs_trainer.rendering.runtime.clock import seconds_left, within
from hfjobs_trainer.rendering.runtime.mount import flush_seconds
from hfjobs_trainer.rendering.runtime.push import commit_folder
from hfjobs_trainer.rendering.runtime.stopping import DEADLINE, Stop

SLOWEST = 2e8  # bytes per second that a disk, a mount and the Hub surely take


def deadline_callback(trainer: Any, stop: Stop) -> Any:
    """Make the callback, the last of all, that ends a run while it can be saved."""
    from transformers import TrainerCallback

    trained = [each for each in trainer.model.parameters() if each.requires_grad]
    guess = sum(each.numel() * each.element_size() for each in trained) / SLOWEST
    spare = min(60, 0.05 * float(os.environ.get("HFT_TIMEOUT") or 0))
    spare += trainer.args.push_to_hub * (30 + guess)

    class Clock(TrainerCallback):
        mark, laps = time.time(), list[float]()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.laps.append(time.time() - self.mark)  # with evaluation and save before
            self.mark += self.laps[-1]
            longest = max(self.laps[1:][-1000:] or self.laps)  # without the start
            ahead = (1 + -(state.global_step + 1) % stop.every) * longest
            # Adam's two moments are saved and copied too.
            stop.reserve = spare + (stop.seconds_to_keep or 6 * guess + flush_seconds())
            if seconds_left() < ahead + stop.reserve:
                stop.ask(DEADLINE)
            stop.settle(state, control)
            if stop.step is not None:  # the trainer's own push may hang
                args.push_to_hub, trainer.push_in_progress = False, None
                if state.epoch % 1:  # it ends here alone
                    args.eval_strategy = args.save_strategy = "no"

    return Clock()


def push_partial(trainer: Any) -> None:
    """Push the model as far as it was trained, to a branch of its repository."""
    trainer.save_model(_internal_call=True)
    if trainer.is_world_process_zero():
        folder, repo = Path(trainer.args.output_dir).absolute(), trainer.hub_model_id
        within(min(20, 0.3 * seconds_left()), write_card, trainer, folder, repo)
        within(0.9 * seconds_left(), commit_folder, trainer, folder, repo, "partial")
