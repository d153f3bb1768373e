"""The last word of a run."""

import sys
import time
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.relaunch import finish


def assert_trained(trainer: Any) -> None:
    """End a run that trained nothing, of which the trainer only warns."""
    if trainer.state.global_step == 0:
        sys.exit("No optimizer step was taken: too few rows, or all were filtered out.")


def conclude(trainer: Any, started: float) -> None:
    """Report the end of a run that began at `started`, and its last metrics.

    A run whose model was not pushed, or cannot be loaded, ends here, with a failure.
    """
    state, folder = trainer.state, Path(trainer.args.output_dir).absolute()
    kept = vars(trainer)  # what became of the model
    last = {key: value for entry in state.log_history for key, value in entry.items()}
    metrics = {k: v for k, v in last.items() if k not in ("step", "epoch", "seconds")}
    done = {"step": state.global_step, "seconds": round(time.time() - started, 1)}
    places = {"output_dir": str(folder), "model": str(kept.get("merged", folder))}
    report("end", **done, metrics=metrics, **places)
    if lost := kept.get("lost"):
        print("\n".join(lost), file=sys.stderr, flush=True)
        finish(1)
