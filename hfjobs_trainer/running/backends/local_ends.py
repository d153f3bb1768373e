"""How a run on this machine is ended, be its supervisor alive, not yet there, or dead."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends import processes
from hfjobs_trainer.running.backends.heirs import end_left
from hfjobs_trainer.running.backends.local_files import open_private, remove_quietly
from hfjobs_trainer.running.backends.local_folder import find_supervisor, read_processes, read_status
from hfjobs_trainer.running.backends.supervise import CANCEL

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
    if find_supervisor(folder) is None:
        remove_quietly(folder / CANCEL)
        return end_run(folder, grace)
    with contextlib.suppress(BackendError):  # a run of which nothing can be told may have to be ended all the same
        if read_status(folder).is_terminal:
            return None
    unwritten = None
    try:
        os.close(open_private(folder / CANCEL, os.O_WRONLY))
    except OSError as error:
        unwritten = error
    # One that starts looks for the file once it can be signalled: either reaches it.
    pid = find_supervisor(folder)
    if pid == 0 and unwritten is not None:
        why = f"the run in {folder} could not be cancelled: {unwritten.strerror or unwritten}; try again"
        raise BackendError(why, unwritten) from unwritten
    if pid:
        processes.signal_process(pid, signal.SIGTERM)
    # One that is being killed holds its lock to the last. One that lives takes the file away.
    deadline = time.monotonic() + _HEED_SECONDS
    while os.path.lexists(folder / CANCEL) and time.monotonic() < deadline:
        if find_supervisor(folder) is None:
            return stop_run(folder, grace)
        time.sleep(0.01)
    return None


def end_run(folder: Path, grace: float) -> None:
    """End the processes of a run whose supervisor is dead, and wait for that.

    Raises:
        BackendError: One cannot be killed.
    """
    if left := end_left(folder, read_processes(folder).script, grace, time.sleep):
        raise BackendError(f"processes of the run in {folder} do not end: `kill -9 {' '.join(map(str, left))}`")
