"""The last word of a run."""

# needs: events

import sys
import time
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def assert_trained(trainer: Any) -> None:
    """End a run that trained nothing, of which the trainer only warns."""
    if trainer.state.global_step == 0:
        sys.exit(
            "No optimiser step was taken, so nothing was trained: the dataset has"
            " fewer rows than one batch needs, or all were filtered out."
        )


def conclude(trainer: Any, started: float) -> None:
    """Report the end of the run and its last metrics.

    Args:
        trainer: The trainer, done with training.
        started: When the script started, as `time.time()` gave it.
    """
    state = trainer.state
    last = {key: value for entry in state.log_history for key, value in entry.items()}
    report(
        "end",
        step=state.global_step,
        seconds=round(time.time() - started, 1),
        metrics={k: v for k, v in last.items() if k not in ("step", "epoch")},
        output_dir=str(Path(trainer.args.output_dir).absolute()),
    )
