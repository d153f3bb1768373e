"""What becomes of a run whose supervisor is killed: the script saves, its last words are kept, and what runs is ended.

Three things see to it, since each may fail: the kernel tells the script (Linux), an heir of the supervisor waits for
its death, and whoever cancels the run looks for what is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hfjobs_trainer.running.backends import processes
from hfjobs_trainer.running.backends.processes import Identity

BINDS = sys.platform == "linux"
"""Whether the kernel tells a script of its supervisor's death: it gets SIGTERM, at which it saves."""
# After SIGKILL, seconds: a process that the kernel holds, such as at a dead disk, does not end at once.
_KILL_SECONDS = 10.0
# Between two looks at what is left, seconds.
_LOOK = 0.05
_SUBREAPER, _PARENT_DEATH = 36, 1  # PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG of linux/prctl.h


def mark_of(folder: Path) -> tuple[str, str]:
    """A variable that the environment of every process of a run has, and of no other: its name and its value."""
    return "HFT_RUN_FOLDER", str(folder)


def left_of(folder: Path, script: Identity | None) -> list[int]:
    """Processes of a run that still run: the script, what it started, and what bears the run's mark.

    Args:
        folder: The run folder.
        script: The script's process; ``None`` where it is not known.
    """
    found = dict.fromkeys(processes.marked("=".join(mark_of(folder)) + "\0"))
    if script is not None and script.is_alive:
        found |= dict.fromkeys([script.pid, *processes.descendants(script.pid, group=script.pid)])
    for pid in list(found):
        found |= dict.fromkeys(processes.descendants(pid, group=pid))
    found.pop(os.getpid(), None)
    return list(found)


def end_left(folder: Path, script: Identity | None, grace: float, pause: Callable[[float], object]) -> list[int]:
    """End the processes of a run whose supervisor is dead: SIGTERM, after the grace SIGKILL.

    A script that the kernel has told is not told again, nor what it started: at a second SIGTERM it would leave at
    once, and lose what it is about to save.

    Args:
        folder: The run folder.
        script: The script's process; ``None`` where it is not known.
        grace: What they have to end by themselves, seconds.
        pause: Passes that many seconds.

    Returns:
        Those that do not end, though they were killed.
    """
    told: set[int] = set()
    deadline = time.monotonic() + grace
    while left := left_of(folder, script):
        moment = time.monotonic()
        if moment >= deadline + _KILL_SECONDS:
            break
        for pid in left:
            if moment >= deadline:
                processes.signal_process(pid, signal.SIGKILL)
            elif pid not in told and not (BINDS and script is not None and script.is_alive):
                processes.signal_process(pid, signal.SIGTERM)
                told.add(pid)
        pause(_LOOK)
    return left


def bind_to_parent() -> Callable[[], None] | None:
    """What a child does before it becomes another program, so that it gets SIGTERM when this process dies.

    It holds for the child alone, and for the thread that makes it; a program that changes its user loses it. ``None``
    where the system has no such thing.
    """
    if not BINDS:
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def bind() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler of ours would take note of it, and end nothing
        prctl(_PARENT_DEATH, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before it was heard
            os._exit(128 + signal.SIGTERM)

    return bind


def adopt_orphans() -> None:
    """Ask the kernel that processes whose parent has ended become ours, so that none escapes (Linux only)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


class Heir(NamedTuple):
    """A process that waits for the death of the one that made it.

    Attributes:
        pid: Its id.
        life: What it listens at.
    """

    pid: int
    life: int

    def dismiss(self) -> None:
        """Let it go: there is nothing to inherit."""
        with contextlib.suppress(OSError):
            os.write(self.life, b".")


def leave_heir(act: Callable[[], None], lock: int) -> Heir:
    """Have a process that acts once this one is dead, unless it was dismissed.

    Args:
        act: What it does.
        lock: Descriptor of the lock of the run, which is held until it has done that; it then names the heir.

    Raises:
        OSError: The system has no room for another process.
    """
    ear, life = os.pipe()
    if pid := os.fork():
        os.close(ear)
        return Heir(pid, life)
    try:
        os.setsid()
        os.close(life)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what it may be told to do, it does by itself
        if not os.read(ear, 1):
            with contextlib.suppress(OSError):
                os.ftruncate(lock, os.pwrite(lock, str(os.getpid()).encode(), 0))
            act()
    finally:
        os._exit(0)


def copy_for(seconds: float, output: int, keep: Callable[[bytes], None]) -> bool:
    """Keep what a pipe gives in that time; return at once, with ``False``, when it can give no more."""
    until = time.monotonic() + seconds
    while select.select([output], [], [], max(0.0, until - time.monotonic()))[0]:
        chunk = os.read(output, 1 << 16)
        if not chunk:
            return False
        keep(chunk)
    return True
