"""A script of somebody else, run as it is, with its trainers watched."""

import importlib.util
import runpy
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hfjobs_trainer.rendering.runtime.conclude import NO_STEP, conclude
from hfjobs_trainer.rendering.runtime.events import progress_callback, report


def is_installed(*packages: str) -> bool:
    """Tell whether all of these packages can be imported."""
    return all(importlib.util.find_spec(package) for package in packages)


def run_script(name: str, source: str, arguments: list[str], started: float) -> None:
    """Run a script as `python name arguments` would, and report how it ended.

    Args:
        name: Name of its file.
        source: Its text.
        arguments: Arguments of its command line.
        started: When this script started, as `time.time()` gave it.
    """
    ended = watch_trainers(started) if is_installed("transformers", "torch") else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_text(source, "utf-8")
        sys.argv = [str(path), *arguments]
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                raise
    if ended:
        if ended[-1].state.global_step == 0:
            sys.exit(NO_STEP)
        conclude(ended[-1], started)
        return
    seconds = round(time.time() - started, 1)
    report("end", seconds=seconds, metrics={}, output_dir=str(Path.cwd()))


def watch_trainers(started: float) -> list[Any]:
    """Have every trainer of transformers report its progress.

    Args:
        started: When this script started, as `time.time()` gave it.

    Returns:
        A list to which each trainer adds its state and arguments when it has trained.
    """
    from transformers import TrainerCallback, trainer

    ended: list[Any] = []

    class Ending(TrainerCallback):
        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ended.append(SimpleNamespace(args=args, state=state))

    callbacks: Any = trainer.DEFAULT_CALLBACKS
    callbacks += [progress_callback(started), Ending()]
    return ended
