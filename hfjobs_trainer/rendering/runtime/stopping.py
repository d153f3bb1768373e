"""The end of a run before its end: at one step, on which all of its processes agree."""

import os
import time
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.clock import seconds_left, within
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.relaunch import finish

# Exit codes: in time before the deadline; since it was of no use or too dear; SIGTERM.
DEADLINE = 76
RUIN = 77
SIGNAL = 143


class Stop:
    """What asks a run to end early, and the step on which its processes agreed."""

    code, why, saves, asked, heard = 0, "", True, 0.0, float("inf")
    step: int | None = None
    suspect = False  # whether the model may be no good
    keeper: Any = None  # of checkpoints; what keeping one takes, as last measured:
    seconds_to_keep = reserve = 0.0

    def __init__(self, every: int = 1, partial: Any = None, last: Any = None) -> None:
        # It ends after a multiple of `every` steps, to be resumed exactly; `partial`
        # pushes the model as far as it is trained, and `last` comes before the end.
        self.every, self.partial, self.last = every, partial, last
        self.rows, self.told = dict[str, int](), set[str]()  # of signs of ruin

    def ask(self, code: int, why: str = "", saves: bool = True) -> None:
        """Ask for the end of the run; the first is heard, but ruin before all."""
        if not self.code or (not saves and self.saves):
            self.code, self.why, self.saves, self.asked = code, why, saves, time.time()

    def see(
        self, what: str, there: Any, step: int, means: str, tell: int = 1, end: int = 0
    ) -> bool:
        """Tell a sign after `tell` steps, end after `end` steps; True: one is left."""
        row = self.rows[what] = self.rows.get(what, 0) + 1 if there else 0
        if row >= tell and what not in self.told:
            self.told.add(what)
            told = {"step": step, "what": what, "meaning": means}
            report("ruin" if end else "warning", **told, message=f"{what}: {means}")
        if end and row >= end:
            often = f", for {row} steps in a row" if row > 1 else ""
            self.ask(RUIN, f"{what}{often}: {means}", saves=False)
        return row == end - 1

    def heed(self, *_: Any) -> None:
        """Take SIGTERM as a wish; a second one, but uv's copy of it, ends at once."""
        if time.time() > self.heard + 1:
            finish(SIGNAL)
        self.heard = min(self.heard, time.time())
        self.ask(SIGNAL)

    def settle(self, state: Any, control: Any) -> None:
        """End the run at the end of this step if a process asks for it."""
        file = os.environ.get("HFT_EXIT_FILE")
        if file and Path(file).with_name("stop").exists():
            self.ask(SIGNAL)
        wish = agree(self.code + 1000 * (not self.saves))
        code, saves, done = wish % 1000, wish < 1000, state.global_step
        goes_on = done % self.every or (done >= state.max_steps and code != SIGNAL)
        if code and not (saves and goes_on):
            self.code, self.saves, self.step = code, saves, done
            control.should_training_stop, control.should_save = True, saves

    def leave(self, trainer: Any) -> None:
        """Keep what there is, tell it, and end with the code that was agreed on."""
        kept = self.keeper and self.keeper.finish()
        if self.partial and self.code == DEADLINE and not self.suspect:
            self.partial(trainer)
        ends = {DEADLINE: "deadline", SIGNAL: "signal"}
        how = {DEADLINE: "at the deadline ", SIGNAL: "by SIGTERM "}.get(self.code, "")
        told: dict[str, Any] = {
            "step": self.step,
            "code": self.code,
            "reason": ends.get(self.code, "over" if self.saves else "ruin"),
            "message": f"stopped {how}at step {self.step}{self.why and ': '}{self.why}",
            "checkpoint": kept,
            "resumable": self.saves and kept is not None,
        }
        left, used = seconds_left(), time.time() - self.asked
        spent = {"reserve": self.reserve, "used": used, "left": left}
        report("stopped", **told, **{f"{k}_seconds": round(spent[k], 1) for k in spent})
        if self.code == RUIN and self.keeper:
            self.keeper.mark(told)
        if self.last:
            within(10, self.last)
        finish(self.code)


def agree(wish: int) -> int:
    """Give the greatest wish of all processes."""
    import torch

    dist: Any = torch.distributed
    if dist.is_available() and dist.is_initialized():
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        value = torch.tensor(wish, device=device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        wish = int(value)
    return wish
