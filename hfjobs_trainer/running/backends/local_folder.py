"""The files of a run on this machine, as they are read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends.base import JobRecord, JobStatus
from hfjobs_trainer.running.planned import read_planned


def read_record(folder: Path) -> JobRecord:
    """What ``record.json`` says of the job; raise ``BackendError`` if it is damaged."""
    with damage_told(folder):
        return record_of(folder, _read_json(folder / "record.json"))


def record_of(folder: Path, record: dict[str, Any]) -> JobRecord:
    """What a ``record.json`` says of the job whose folder this is."""
    created = datetime.fromisoformat(record["created_at"])
    return JobRecord(
        record["id"],
        labels=record["labels"],
        created_at=created,
        folder=str(folder),
        directory=record.get("cwd"),
        planned=read_planned(record.get("env") or {}),
    )


def read_request(folder: Path) -> dict[str, Any]:
    """All that ``record.json`` holds; raise ``BackendError`` if it is damaged, or lacks what a run needs to go on."""
    with damage_told(folder):
        record = _read_json(folder / "record.json")
        _ = [record[name] for name in ("name", "labels", "command", "secrets", "timeout_seconds")]
        return record | {"env": {"HFT_RUN_ID": folder.name} | record["env"]}


def is_of(folder: Path, home: Path) -> bool:
    """Whether the job of this folder goes on with the run of that one; of a damaged record it is not known to."""
    with contextlib.suppress(BackendError):
        return read_record(folder).directory == str(home)
    return False


def script_process(folder: Path) -> int | None:
    """Process id of the run's script if that is running, though its supervisor may be dead; ``None`` if it is not."""
    with damage_told(folder):
        try:
            pid = int(_read_json(folder / "status.json")["pid"])
            os.killpg(pid, 0)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        return pid


def read_status(folder: Path) -> JobStatus:
    """Where the job is, by ``status.json``; raise ``BackendError`` if it is damaged."""
    with damage_told(folder):
        created = _time(_read_json(folder / "record.json")["created_at"])
        try:
            status = _read_json(folder / "status.json")
        except FileNotFoundError:
            return JobStatus("SCHEDULING", created_at=created)
        return JobStatus(
            status["stage"], status["message"], created, _time(status["started_at"]), _time(status["finished_at"])
        )


@contextlib.contextmanager
def damage_told(folder: Path) -> Generator[None]:
    """Report unreadable files as damaged."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendError(f"the files of the run in {folder} are damaged ({type(error).__name__})", error) from error


def find_supervisor(folder: Path) -> int | None:
    """Process id of the run's supervisor, 0 while it starts; ``None`` if it is dead."""
    import fcntl

    with (folder / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0)
    return None


def _read_json(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(path.read_text("utf-8")))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
