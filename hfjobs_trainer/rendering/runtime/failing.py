"""An exception that ends a run: told in one plain line behind its traceback."""

import re
import sys
from traceback import format_exception, walk_tb
from typing import Any

from hfjobs_trainer.rendering.runtime.checkpoints import list_steps, read_manifest
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import run_folder

# How an error says that something is full, whatever it is wrapped in.
FULL = {
    "GPU memory": "[Oo]ut of memory|OutOfMemory|_ALLOC_FAILED|memory for the cache",
    "host memory": "MemoryError|(an't|annot) allocate memory|bad_alloc",
    "disk space": "No space left|quota exc|disk (is full|space)|StreamWriter|ected pos",
}
PLACES = ("_save_checkpoint", "evaluate", "generate", "train", "main", "relaunch")


def tell_failure(*failure: Any, fixes: Any = (), looks: Any = ()) -> None:
    """Tell behind its traceback what ended this run, where, and what is left of it."""
    sys.__excepthook__(*failure)
    error = failure[1]
    frames = {frame.f_code.co_name: frame.f_locals for frame, _ in walk_tb(failure[2])}
    trainer, stop = [frames.get("main", {}).get(name) for name in ("trainer", "stop")]
    step, keeper = trainer and trainer.state.global_step, stop and stop.keeper
    where = next((f"in {name}()" for name in PLACES if name in frames), "at its start")
    where += f", after step {step}" if trainer else ""
    said = [x.split("\n")[0][:200] for x in format_exception(error) if x[0].isalpha()]
    found = [(k, f"out of {k}", x) for k in FULL for x in said if re.search(FULL[k], x)]
    found += [("other", "the run failed", f"{type(error).__name__}: {error!s:.200}")]
    for look in looks:  # of several processes, one tells: the others find nothing
        found = look(error, found)
    if keeper:
        keeper.finish()  # what was saved before outlives this
    folder: Any = keeper.away or keeper.folder.absolute() if keeper else run_folder()
    steps = [n for n in list_steps(folder) if read_manifest(folder / f"checkpoint-{n}")]
    for what, told, why in found[:1]:
        tries, last = dict(fixes).get(what, []), max(steps, default=None)
        message = " ".join(f"{told} {where}: {why}".split())
        message += f". Try {', or '.join(tries)}" if tries else ""
        kept = f"The last whole checkpoint is of step {last}"
        message += f". {kept if last else 'No checkpoint was kept'}"
        left = {"checkpoint": last, "place": last and folder / f"checkpoint-{last}"}
        left |= {"what": what.lower().replace(" ", "_"), "try": tries}
        report("failed", message=message, step=step, **left)
        print(f"hft: {message}", file=sys.stderr, flush=True)
