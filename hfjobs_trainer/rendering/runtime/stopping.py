"""The end of a run before its end: at one step, on which all of its processes agree."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.clock import seconds_left, within
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import mark_stopped
from hfjobs_trainer.rendering.runtime.relaunch import finish

# Exit codes: in time before the deadline, without use, by SIGTERM.
DEADLINE = 76
RUIN = 77
SIGNAL = 143


class Stop:
    """What asks a run to end early, and what its processes agreed on.

    Args:
        every: It ends at a multiple of so many steps, to be resumed exactly.
        partial: Pushes the model as far as it was trained.
        last: What is done before this process ends.
    """

    def __init__(
        self,
        every: int = 1,
        partial: Any = None,
        last: Callable[[], None] | None = None,
    ) -> None:
        self.every, self.partial, self.last = every, partial, last
        self.code, self.why, self.saves = 0, "", True
        self.asked = self.reserve = 0.0
        self.step: int | None = None  # that on which all agreed
        self.suspect = False  # whether the model may be no good
        self.keeper: Any = None  # copies checkpoints to a safer place
        self.seconds_to_keep = 0.0  # to save and copy one, as last measured

    def ask(self, code: int, why: str, saves: bool = True) -> None:
        """Ask for the end of the run; the first is heard, but ruin before all."""
        if not self.code or (not saves and self.saves):
            self.code, self.why, self.saves = code, why, saves
            self.asked = time.time()

    def heed(self, *_: Any) -> None:
        """Take SIGTERM as a wish; a second one, but uv's copy of it, ends at once."""
        if self.code == SIGNAL and time.time() > self.asked + 1:
            sys.exit(SIGNAL)
        self.ask(SIGNAL, "")

    def settle(self, state: Any, control: Any) -> None:
        """End the run at the end of this step if a process asks for it."""
        file = os.environ.get("HFT_EXIT_FILE")
        if file and Path(file).with_name("stop").exists():
            self.ask(SIGNAL, "")
        wish = agree(self.code + 1000 * (not self.saves))
        code, saves, done = wish % 1000, wish < 1000, state.global_step
        if saves and code != SIGNAL and done >= state.max_steps:
            return  # it is at its end
        if code and (not saves or done % self.every == 0):
            self.code, self.saves, self.step = code, saves, done
            control.should_training_stop = True
            control.should_save = saves

    def leave(self, trainer: Any) -> None:
        """Keep what there is, tell it, and end with the code that was agreed on."""
        kept = self.keeper and self.keeper.finish(seconds_left() - 15)
        if self.partial and self.code == DEADLINE and not self.suspect:
            self.partial(trainer)
        how = {
            DEADLINE: ("deadline", "at the deadline "),
            SIGNAL: ("signal", "by SIGTERM "),
        }
        reason, said = how.get(self.code, ("over" if self.saves else "ruin", ""))
        message = f"stopped {said}at step {self.step}{self.why and ': '}{self.why}"
        told = {"step": self.step, "code": self.code, "reason": reason}
        told |= {"message": message, "checkpoint": kept}
        told |= {"resumable": self.saves and kept is not None}
        spent = {
            "reserve_seconds": round(self.reserve, 1),
            "used_seconds": round(time.time() - self.asked, 1),
            "left_seconds": round(seconds_left(), 1),
        }
        report("stopped", **told, **spent)
        if self.code == RUIN:
            mark_stopped(told)
        if self.last:
            within(10, self.last)
        finish(self.code)


def agree(wish: int) -> int:
    """Give the greatest wish of all processes."""
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return wish
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    value = torch.tensor(wish, device=device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)
