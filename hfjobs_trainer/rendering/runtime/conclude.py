"""The last word of a run."""

import sys
import time
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.relaunch import finish

NO_STEP = "No optimizer step was taken: too few rows, or all were filtered out."


def conclude(trainer: Any, started: float) -> None:
    """Report the end of a run that began at `started`; of a lost model, a failure."""
    state, folder = trainer.state, Path(trainer.args.output_dir).absolute()
    last = {key: value for entry in state.log_history for key, value in entry.items()}
    metrics = {k: v for k, v in last.items() if k not in ("step", "epoch", "seconds")}
    done = {"step": state.global_step, "seconds": round(time.time() - started, 1)}
    done |= {"output_dir": folder, "model": getattr(trainer, "merged", folder)}
    report("end", **done, metrics=metrics)
    if lost := getattr(trainer, "lost", None):
        print(*lost, sep="\n", file=sys.stderr, flush=True)
        finish(1)
