"""Progress lines: one line of JSON per event, for whoever watches the run."""

import json
import os
import time
from pathlib import Path
from typing import Any


def report(event: str, **fields: Any) -> None:
    """Print an event as one line of JSON; but for a failure, the main process alone."""
    if os.environ.get("RANK", "0") != "0" and event != "failed":
        return
    line = {"event": f"hft.{event}", "time": round(time.time(), 3), **fields}
    # NaN and infinity are not JSON: they are read back as null.
    line = json.loads(json.dumps(line, default=str), parse_constant=lambda _: None)
    # One write per line, since other processes print to the same stream.
    print(json.dumps(line) + "\n", end="", flush=True)


def progress_callback(started: float) -> Any:
    """Make the trainer callback that reports what a run `started` then has done."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        began = started

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            for entry in state.log_history[-1:]:  # what a resumed run took until then
                self.began = started - entry.get("seconds", 0)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for entry in state.log_history[-1:]:
                entry["seconds"] = round(time.time() - self.began, 1)
            metrics = {k: v for k, v in kwargs["logs"].items() if k != "epoch"}
            done = {"step": state.global_step, "max_steps": state.max_steps}
            report("log", **done, epoch=state.epoch, metrics=metrics)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            path = Path(args.output_dir, f"checkpoint-{state.global_step}").absolute()
            report("saved", step=state.global_step, path=str(path))

    return Progress()
