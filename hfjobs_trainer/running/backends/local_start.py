"""How a run on this machine is started: there is a whole job, or nothing is left."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends import supervise
from hfjobs_trainer.running.backends.base import JobRecord
from hfjobs_trainer.running.backends.local_ends import end_run, stop_run
from hfjobs_trainer.running.backends.local_files import make_folder, open_private, write_file, write_json
from hfjobs_trainer.running.backends.local_folder import find_supervisor, record_of

# How long a supervisor has to give up a run that is not wanted any more, beyond its grace: seconds.
_GIVE_UP = 30.0
# What a script that has begun all the same has to end by itself, seconds.
_GRACE = 1.0
# Of a folder's name, that much is the run's: characters.
_LONGEST_NAME = 100


def launch(root: Path, name: str, script: str, describe: Callable[[Path], dict[str, Any]]) -> JobRecord:
    """Start a script as a new job under this root.

    Args:
        root: Where its folder is made.
        name: Of the run.
        script: Its text.
        describe: What ``record.json`` holds, for a folder.

    Raises:
        BackendError: The folder cannot be written, or the script not be started.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    # Made under a name that no reader looks at, so that a job is seen when it is whole.
    hidden = root / f".{secrets.token_hex(8)}"
    folder = root / f"{stamp}-{name[:_LONGEST_NAME]}-{secrets.token_hex(3)}"
    is_made = False
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            make_folder(root)
        make_folder(hidden)
        record = describe(folder)
        write_file(hidden / "script.py", script.encode())
        write_file(hidden / "log.txt", b"")
        write_json(hidden / "record.json", record)
        # Held by the supervisor as long as it lives: whether it does needs no process id, which another may get.
        with os.fdopen(open_private(hidden / "lock", os.O_RDWR), "r+b") as lock:
            _hold(lock.fileno())
            is_made = True
            hidden.rename(folder)
            _start_supervisor(folder, lock.fileno())
        return record_of(folder, record)
    except BaseException as error:
        with contextlib.suppress(BackendError):
            _take_back(hidden, folder if is_made and not hidden.exists() else None)
        if isinstance(error, (OSError, ValueError)):  # the latter for names that no system takes
            why = f"the run folder under {root} could not be written: {error}; choose another place with"
            raise BackendError(f"{why} LocalBackend(root=...) or the environment variable HFT_HOME", error) from error
        raise


def _hold(lock: int) -> None:
    import fcntl

    fcntl.flock(lock, fcntl.LOCK_EX)


def _start_supervisor(folder: Path, lock: int) -> None:
    try:
        started = subprocess.run(
            [sys.executable, "-m", supervise.__name__, str(folder), str(lock)],
            cwd=Path(supervise.__file__).parents[3],  # where the package is found, installed or not
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise BackendError(f"the script could not be started: {error}", error) from error
    told = started.stdout.decode("utf-8", "replace").strip()
    if told != supervise.STARTED:
        why = told.splitlines()[-1][:500] if told else "its supervisor exited immediately"
        raise BackendError(f"the script could not be started: {why}")


def _take_back(hidden: Path, folder: Path | None) -> None:
    """Remove what there is of a job that has not come to be, its processes first."""
    if folder is not None:
        deadline = time.monotonic() + _GIVE_UP
        # No matter how far it is: the lock is held until the last of its processes has given up.
        while find_supervisor(folder) is not None and time.monotonic() < deadline:
            stop_run(folder, _GRACE)
            time.sleep(0.02)
        end_run(folder, _GRACE)
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(hidden, ignore_errors=True)
