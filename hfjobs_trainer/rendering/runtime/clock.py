"""Time: how much of it is left, and what takes no more of it than it may."""

import os
import time
from contextlib import suppress
from contextvars import copy_context
from importlib import import_module
from multiprocessing.pool import ThreadPool
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def seconds_left() -> float:
    """Give the seconds until this machine is taken away; infinity without a timeout.

    It counts from the container's start, that of its session: installing counts too.
    """
    timeout, age = float(os.environ.get("HFT_TIMEOUT") or 0), 0.0
    if timeout and "HFT_DEADLINE" not in os.environ:
        with suppress(Exception):  # where there are no sessions, it counts from now
            session = import_module("psutil").Process(os.getsid(0) or 1)
            age = max(0.0, time.time() - session.create_time())
        age *= age < timeout  # an older session is a terminal's
        os.environ["HFT_DEADLINE"] = str(time.time() + timeout - age)
    return float(os.environ.get("HFT_DEADLINE", "inf")) - time.time()


def within(seconds: float, do: Any, *arguments: Any) -> None:
    """Do what may hang or fail, for so many seconds at most; either is a warning."""
    try:
        with ThreadPool(1) as pool:
            run = pool.apply_async(copy_context().run, (do, *arguments))
            run.get(min(max(seconds, 0), 1e6))
    except Exception as error:  # noqa: BLE001 - what was saved before counts
        told = f"{do.__name__} was given up ({seconds:.0f} s left): {error!r:.300}"
        report("warning", message=told)
