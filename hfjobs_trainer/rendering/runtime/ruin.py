"""Signs that a run is of no use: each is told at once, and ends the run if it stays."""

from functools import partial
from math import isfinite
from typing import Any

from hfjobs_trainer.rendering.runtime.stopping import Stop, agree

# Steps in a row after which numbers that are not finite end a run, and after which
# what may be chance does: no gradient, or steps that fp16 skips to find its scale.
BROKEN = 5
OFTEN = 20


def watch_for_ruin(trainer: Any, stop: Stop) -> None:
    """Look at the true loss and gradient norm of each step: the log has no NaN."""
    from transformers import TrainerCallback

    see, losses, norms = stop.see, list[Any](), list[Any]()
    hint, tell = "no token is trained, or all has been learned", BROKEN
    if hasattr(trainer, "reward_funcs"):
        hint, tell = "all answers to a prompt get the same reward", OFTEN

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            loss, norm, step = float(sum(losses)), norms.pop(), state.global_step
            losses.clear()
            skips = trainer.accelerator.optimizer_step_was_skipped  # in fp16 alone
            fine = isfinite(loss) and (skips or norm is None or isfinite(norm))
            fine &= not control.should_save or has_finite_weights(trainer)
            # 2: not finite in some process; 0: nothing to learn in any of them
            found = agree(int(loss != 0 or norm != 0) if fine else 2)
            stop.suspect, why = found == 2, "learning_rate is too high, or a row is bad"
            what = "loss, gradients or weights are not finite"
            see(what, stop.suspect, step, why, end=BROKEN)
            see("fp16 overflows", skips, step, "use bf16 or fp32", OFTEN, OFTEN)
            if see("loss and gradients are 0", not found, step, hint, tell, OFTEN):
                control.should_save = True  # such weights are as good as ever
            control.should_save &= not stop.suspect  # no good checkpoint makes room

    def note(notes: list[Any], do: Any, *given: Any, **named: Any) -> Any:
        notes.append(do(*given, **named))
        return notes[-1]

    trainer.training_step = partial(note, losses, trainer.training_step)
    trainer._get_grad_norm = partial(note, norms, trainer._get_grad_norm)
    trainer.add_callback(Watch())


def has_finite_weights(trainer: Any) -> bool:
    """Tell whether the trained weights, as far as this process has them, are finite."""
    from torch import float32

    for weight in trainer.model.parameters():
        part: Any = getattr(weight, "ds_tensor", weight).detach()  # ZeRO-3 keeps that
        part = part.to_local() if hasattr(part, "to_local") else part
        if weight.requires_grad and not part.sum(dtype=float32).isfinite():
            return False
    return True
