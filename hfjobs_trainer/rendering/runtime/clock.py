"""Time: how much of it is left, and what takes no more of it than it may."""

import os
import time
from contextvars import copy_context
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def seconds_left() -> float:
    """Give the seconds until this machine is taken away; infinity without a timeout.

    It counts from the container's start, that of its session: installing counts too.
    """
    timeout, age = float(os.environ.get("HFT_TIMEOUT") or "inf"), 0.0
    if timeout < float("inf") and "HFT_DEADLINE" not in os.environ:
        try:
            stat = Path(f"/proc/{os.getsid(0) or 1}/stat").read_text("utf-8")
            # Field 22, behind a name in parentheses: clock ticks since boot.
            start = int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - start
        except (OSError, AttributeError):
            pass  # no Linux: it counts from now
        age = age if 0 <= age < timeout else 0  # an older session is a terminal's
        os.environ["HFT_DEADLINE"] = str(time.time() + timeout - age)
    return float(os.environ.get("HFT_DEADLINE", "inf")) - time.time()


def within(seconds: float, do: Any, *arguments: Any) -> None:
    """Do what may hang or fail, for so many seconds at most; either is a warning."""
    try:
        run = ThreadPool(1).apply_async(copy_context().run, (do, *arguments))
        run.get(min(max(seconds, 0), 1e6))
    except Exception as error:  # noqa: BLE001 - what was saved before counts
        report("warning", message=f"{do.__name__}, {seconds:.0f} s: {error!r:.300}")
