"""How a run on this machine is ended, be its supervisor alive, not yet there, or dead."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends import processes
from hfjobs_trainer.running.backends.local_files import open_private, remove_quietly
from hfjobs_trainer.running.backends.local_folder import Stated, find_supervisor, read_status
from hfjobs_trainer.running.backends.processes import Identity
from hfjobs_trainer.running.backends.supervise import BINDS, CANCEL, mark_of

# After SIGKILL, seconds: a process that the kernel holds, such as at a dead disk, does not end at once.
_KILL_SECONDS = 10.0
# How long a supervisor may take to heed a signal before it is left alone with it, seconds.
_HEED_SECONDS = 5.0


def stop_run(folder: Path, grace: float) -> None:
    """Ask the supervisor of a run to end it; of one that is dead, end what it has left.

    Args:
        folder: The run folder.
        grace: What a supervisor's heirs have to end by themselves, seconds.

    Raises:
        BackendError: Neither could be done.
    """
    stated = _stated(folder)
    pid = find_supervisor(folder, stated and stated.supervisor)
    if pid is None:
        # It may have ended the run between the two looks: then nothing is left.
        remove_quietly(folder / CANCEL)
        return end_left(folder, stated and stated.script, grace)
    if stated is not None and stated.status.is_terminal:
        return None
    unwritten = None
    try:
        os.close(open_private(folder / CANCEL, os.O_WRONLY))
    except OSError as error:
        unwritten = error
    # One that starts looks for the file once it can be signalled: either reaches it.
    stated = _stated(folder)
    pid = find_supervisor(folder, stated and stated.supervisor)
    if pid == 0 and unwritten is not None:
        why = f"the run in {folder} could not be cancelled: {unwritten.strerror or unwritten}; try again"
        raise BackendError(why, unwritten) from unwritten
    if pid:
        processes.signal_process(pid, signal.SIGTERM)
        # One that is being killed holds its lock to the last. One that lives takes the file away.
        deadline = time.monotonic() + _HEED_SECONDS
        while os.path.lexists(folder / CANCEL) and time.monotonic() < deadline:
            if find_supervisor(folder, stated and stated.supervisor) is None:
                return stop_run(folder, grace)
            time.sleep(0.01)
    return None


def _stated(folder: Path) -> Stated | None:
    """What the run's files say of it; ``None`` if they are damaged: it may have to be ended all the same."""
    with contextlib.suppress(BackendError):
        return read_status(folder)
    return None


def left_behind(folder: Path, script: Identity | None) -> list[int]:
    """Processes of a run that still run: the script, what it started, and what bears the run's mark.

    Args:
        folder: The run folder.
        script: The script's process; ``None`` where it is not known.
    """
    found = dict.fromkeys(processes.marked(mark_of(folder)))
    if script is not None and script.is_alive:
        found |= dict.fromkeys([script.pid, *processes.descendants(script.pid, group=script.pid)])
    for pid in list(found):
        found |= dict.fromkeys(processes.descendants(pid, group=pid))
    found.pop(os.getpid(), None)
    return list(found)


def end_left(folder: Path, script: Identity | None, grace: float) -> None:
    """End the processes of a run whose supervisor is dead: SIGTERM, after the grace SIGKILL.

    A script that was told so by the death of its supervisor is not told again: at a second SIGTERM it would leave at
    once, and lose what it is about to save.

    Raises:
        BackendError: One cannot be killed.
    """
    is_told = BINDS and script is not None and script.is_alive

    def find() -> list[int]:
        return left_behind(folder, script)

    if processes.signal_until_gone(find, None if is_told else signal.SIGTERM, grace):
        return
    deadline = time.monotonic() + _KILL_SECONDS
    while not processes.signal_until_gone(find, signal.SIGKILL, 0.5):
        if time.monotonic() > deadline:
            pids = " ".join(map(str, find()))
            raise BackendError(f"processes of the run in {folder} do not end: `kill -9 {pids}`")
