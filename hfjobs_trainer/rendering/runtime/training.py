"""Training, to its end or to an early one."""

import os
import signal
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.conclude import assert_trained
from hfjobs_trainer.rendering.runtime.deadline import deadline_callback
from hfjobs_trainer.rendering.runtime.ruin import refuse_broken_weights
from hfjobs_trainer.rendering.runtime.stopping import Stop


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
    try:
        trainer.train(**options)
    except Exception:
        if stop.keeper:
            stop.keeper.finish()  # what was saved before outlives it
        raise
    refuse_broken_weights(trainer, stop)
    if stop.step is not None:
        stop.leave(trainer)
    stop.heard = 0.0  # from now on, the first SIGTERM ends it at once
    assert_trained(trainer)
