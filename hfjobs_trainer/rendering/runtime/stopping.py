"""The end of a run before its end: at one step, on which all of its processes agree."""

import sys
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report

# Exit codes of a run that stopped to be resumed later, and of one that was of no use.
DEADLINE = 76
RUIN = 77


class Stop:
    """What asks a run to end early, and what its processes agreed on.

    Attributes:
        code: Exit code with which this process asks the run to end; 0: it does not.
        why: The reason, for people.
        saves: Whether a checkpoint is saved first.
        every: The run ends at a multiple of so many steps, to be resumed exactly.
        step: The step at which all processes ended; None while they go on.
        suspect: Whether the last step's loss or gradient was not finite.
    """

    def __init__(self, every: int = 1) -> None:
        self.code, self.why, self.saves = 0, "", True
        self.every = every
        self.step: int | None = None
        self.suspect = False

    def ask(self, code: int, why: str, saves: bool = True) -> None:
        """Ask for the end of the run; the first is heard, but ruin before all."""
        if not self.code or (not saves and self.saves):
            self.code, self.why, self.saves = code, why, saves

    def settle(self, state: Any, control: Any) -> None:
        """End the run at the end of this step if a process asks for it."""
        wish = 2 * self.code + (not self.saves)
        wish = agree(wish)
        if wish and (state.global_step % self.every == 0 or wish % 2):
            self.code, self.saves = wish // 2, not wish % 2
            self.step = state.global_step
            control.should_training_stop = True
            control.should_save = self.saves

    def leave(self) -> None:
        """End this process with the code that was agreed on."""
        report("stopped", step=self.step, code=self.code, reason=self.why)
        sys.exit(self.code)


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
