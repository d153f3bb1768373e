"""Training, to its end or to an early one."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.conclude import NO_STEP
from hfjobs_trainer.rendering.runtime.deadline import deadline_callback
from hfjobs_trainer.rendering.runtime.ruin import has_finite_weights
from hfjobs_trainer.rendering.runtime.stopping import Stop, agree


def train(trainer: Any, stop: Stop, **options: Any) -> None:
    """Train, from the newest checkpoint; end the process where the run was stopped."""
    trainer.add_callback(deadline_callback(trainer, stop))
    # Not transformers' own checkpoint at SIGTERM, which may fall amid a step: between
    # gradients and update, from where no run goes on as if nothing had happened.
    if file := os.environ.get("HFT_EXIT_FILE"):
        Path(file).touch()
    elif "RANK" not in os.environ:
        signal.signal(signal.SIGTERM, stop.heed)
    if stop.keeper and (path := stop.keeper.resume()):
        options["resume_from_checkpoint"] = path
    trainer.train(**options)
    if (stop.step is None or stop.saves) and agree(not has_finite_weights(trainer)):
        stop.suspect, stop.step = True, trainer.state.global_step  # so none are kept
        why = "the last step broke them; the last good checkpoint is kept"
        stop.see("the weights are not finite", True, stop.step or 0, why, end=1)
    if stop.step is not None:
        stop.leave(trainer)
    stop.heard = 0.0  # from now on, the first SIGTERM ends it at once
    if trainer.state.global_step == 0:  # of which the trainer only warns
        sys.exit(NO_STEP)
