"""What a run on this machine uses of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from hfjobs_trainer.running.backends.base import Usage


def memory_usage(pids: Iterable[int]) -> Usage | None:
    """What these processes hold in memory, what they share counted for each; ``None`` where there is no ``/proc``."""
    pages = 0
    try:
        total = int(Path("/proc/meminfo").read_text("utf-8").split()[1]) * 1024  # "MemTotal: ... kB" comes first
    except OSError:
        return None
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            pages += int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    return Usage(used_gib=pages * os.sysconf("SC_PAGE_SIZE") / 2**30, total_gib=total / 2**30)
