"""An exception that ends a run: told in one plain line behind its traceback."""

import re
import sys
from contextlib import suppress
from traceback import format_exception, format_exception_only, walk_tb
from typing import Any

from hfjobs_trainer.rendering.runtime.checkpoints import list_steps, read_manifest
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import run_folder

FULL = {  # how an error says so, whatever it is wrapped in
    "GPU memory": "[Oo]ut of memory|OutOfMemory|_ALLOC_FAILED|memory for the cache",
    "host memory": r"MemoryError\b|(an't|annot) allocate memory|bad_alloc",
    "disk space": "space left|quota exc|ough disk|disk is full|StreamWriter|cted pos ",
}
PLACES = ("_save_checkpoint", "evaluate", "generate", "train", "main", "relaunch")
SECRET = r"\b(hf_|sk-|gh[a-z]_|github_pat_)[\w-]{16,}|(?<=://)[^\s/@]+(?=@)"


def tell_failure(*failure: Any, fixes: Any = (), looks: Any = ()) -> None:
    """Tell behind its traceback what ended this run, where, and what is left of it."""
    sys.__excepthook__(*failure)
    error, steps = failure[1], list[int]()
    if not isinstance(error, Exception):
        return  # an interrupt
    frames = {frame.f_code.co_name: frame.f_locals for frame, _ in walk_tb(failure[2])}
    trainer, stop = [frames.get("main", {}).get(name) for name in ("trainer", "stop")]
    step, keeper = trainer and trainer.state.global_step, stop and stop.keeper
    where = next((f"in {name}()" for name in PLACES if name in frames), "at its start")
    where += f", after step {step}" if trainer else ""
    lines = [*format_exception_only(error), *format_exception(error)]
    said = [re.sub(SECRET, "***", x[:9999]) for x in lines if not x[0].isspace()]
    said = [" ".join(x.split())[:200].rstrip(".") for x in said]
    found = [(k, f"out of {k}", x) for k in FULL for x in said if re.search(FULL[k], x)]
    found += [("other", "the run failed", said[0])]
    for look in looks:  # of several processes, one tells: the others find nothing
        found = look(error, found)
    home: Any = keeper.away or keeper.folder.absolute() if keeper else run_folder()
    with suppress(Exception):  # a mount may be what failed
        if keeper:
            keeper.finish()  # what was saved before outlives this
        steps = [n for n in list_steps(home) if read_manifest(home / f"checkpoint-{n}")]
    for what, told, why in found[:1]:
        tries, last = dict(fixes).get(what, []), max(steps, default=None)
        line = f"{told} {where}: {why}{'. Try ' if tries else ''}{', or '.join(tries)}"
        kept = f"The last whole checkpoint is of step {last}"
        line += f". {kept if last else 'No checkpoint was kept'}"
        left = {"checkpoint": last, "place": last and home / f"checkpoint-{last}"}
        left |= {"what": what.lower().replace(" ", "_"), "try": tries}
        report("failed", message=line, step=step, **left)
        print(f"hft: {line}", file=sys.stderr, flush=True)
