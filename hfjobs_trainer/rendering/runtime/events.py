"""Progress lines: one line of JSON per event, for whoever watches the run."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def report(event: str, **fields: Any) -> None:
    """Print an event as one line of JSON, from the main process only."""
    if os.environ.get("RANK", "0") != "0":
        return
    line = {"event": f"hft.{event}", "time": round(time.time(), 3), **fields}
    text = json.dumps(line, default=str)
    # NaN and infinity are no JSON: read back as null.
    text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    # One write per line, since other processes print to the same stream.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def progress_callback() -> Any:
    """Make the trainer callback that reports metrics and checkpoints."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any
        ) -> None:
            metrics = {key: value for key, value in logs.items() if key != "epoch"}
            report(
                "log",
                step=state.global_step,
                max_steps=state.max_steps,
                epoch=state.epoch,
                metrics=metrics,
            )

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            folder = Path(args.output_dir).absolute()
            path = folder / f"checkpoint-{state.global_step}"
            report("saved", step=state.global_step, path=str(path))

    return Progress()
