"""The files of a run on this machine, as they are read, whatever has happened to them."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.labels import RUN_ID
from hfjobs_trainer.running.backends.base import JobRecord, JobStatus, Stage
from hfjobs_trainer.running.backends.local_files import LARGEST_RECORD, open_file, open_private, read_file, read_json
from hfjobs_trainer.running.backends.processes import Identity
from hfjobs_trainer.running.planned import read_planned

PREFIX = "local/"
"""What the ids of runs on this machine begin with; the name of the folder follows."""
# Larger files are none of ours, bytes; a script may embed data.
_STATUS, _SCRIPT = 1 << 20, 256 << 20
_SIGNS = ("record.json", "status.json", "script.py", "lock")
# A message of a status is cut after so many characters.
_MESSAGE = 2000
# How long another process may take that resumes the same run, seconds.
_RESUMING = 60.0


class Processes(NamedTuple):
    """The processes of a run, each ``None`` where it is not known.

    Attributes:
        script: The script's.
        supervisor: What stays with it.
    """

    script: Identity | None = None
    supervisor: Identity | None = None


def run_folders(root: Path) -> Iterator[Path]:
    """The folders under a root that hold a run, whole or not.

    Raises:
        BackendError: The root is there, but cannot be listed.
    """
    try:
        folders = sorted(root.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        why = f"the runs under {root} cannot be listed ({error.strerror}); LocalBackend(root=...) or the environment"
        raise BackendError(f"{why} variable HFT_HOME name another folder", error) from error
    yield from (folder for folder in folders if not folder.name.startswith(".") and holds_run(folder))


def holds_run(folder: Path) -> bool:
    """Whether this is the folder of a run, whole or not."""
    return any(os.path.lexists(folder / name) for name in _SIGNS)


def read_record(folder: Path) -> JobRecord:
    """What ``record.json`` says of the job; raise ``BackendError`` if it is damaged."""
    with damage_told(folder, "record.json"):
        return record_of(folder, read_json(folder / "record.json", LARGEST_RECORD))


def record_of(folder: Path, record: dict[str, Any]) -> JobRecord:
    """What a ``record.json`` says of the job whose folder this is; raise ``ValueError`` if a field is wrong."""
    env = record.get("env")
    return JobRecord(
        PREFIX + folder.name,
        labels=_take(record, "labels", _is_texts, "texts by name"),
        created_at=_time(record, "created_at"),
        folder=str(folder),
        directory=_take(record, "cwd", _is_path, "a path", optional=True),
        planned=read_planned(cast("dict[str, Any]", env) if isinstance(env, dict) else {}),
    )


def read_request(folder: Path) -> dict[str, Any]:
    """All that ``record.json`` holds; raise ``BackendError`` if it is damaged, or lacks what a run needs to go on."""
    with damage_told(folder, "record.json"):
        record = read_json(folder / "record.json", LARGEST_RECORD)
        record_of(folder, record)
        _take(record, "name", _is_name, "a name")
        _take(record, "command", lambda value: bool(value) and _is_list(value), "a list of texts")
        _take(record, "secrets", _is_list, "a list of texts")
        _take(record, "env", _is_texts, "texts by name")
        _take(record, "grace_seconds", _is_seconds, "a number of seconds")
        if "timeout_seconds" not in record:
            raise ValueError("lacks timeout_seconds")
        _take(record, "timeout_seconds", _is_seconds, "a number of seconds", optional=True)
        return record | {"env": {RUN_ID: folder.name} | record["env"]}


def read_script(folder: Path) -> str:
    """The script of the run; raise ``BackendError`` if it is damaged."""
    with damage_told(folder, "script.py"):
        return read_file(folder / "script.py", _SCRIPT).decode("utf-8")


def is_of(folder: Path, home: Path) -> bool:
    """Whether the job of this folder goes on with the run of that one; of a damaged record it is not known to."""
    with contextlib.suppress(BackendError):
        return read_record(folder).directory == str(home)
    return False


def read_status(folder: Path) -> JobStatus:
    """Where the job is, by ``status.json``; raise ``BackendError`` if it is damaged."""
    created = read_record(folder).created_at
    with damage_told(folder, "status.json"):
        try:
            status = read_json(folder / "status.json", _STATUS)
        except FileNotFoundError:
            if os.path.lexists(folder / "status.json"):
                raise
            return JobStatus("SCHEDULING", created_at=created)
        message = _take(status, "message", _is_text, "a text", optional=True)
        return JobStatus(
            _take(status, "stage", lambda value: _is_text(value) and value in get_args(Stage), "a stage"),
            message and message[:_MESSAGE],
            created,
            _time(status, "started_at", optional=True),
            _time(status, "finished_at", optional=True),
        )


def read_processes(folder: Path) -> Processes:
    """The processes of the run, as far as ``status.json`` tells."""
    try:
        told = read_json(folder / "status.json", _STATUS)
    except (OSError, ValueError):
        return Processes()
    return Processes(
        Identity.read(told.get("pid"), told.get("birth")),
        Identity.read(told.get("supervisor"), told.get("supervisor_birth")),
    )


@contextlib.contextmanager
def damage_told(folder: Path, file: str) -> Generator[None]:
    """Report an unreadable file of a run as damaged."""
    try:
        yield
    except (OSError, ValueError, OverflowError) as error:
        if isinstance(error, FileNotFoundError):
            why = "leads nowhere" if os.path.lexists(folder / file) else "is missing"
        elif isinstance(error, OSError):
            why = f"cannot be read: {error.strerror}" if error.strerror else str(error)
        else:
            why = "is not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise BackendError(
            f"the files of the run in {folder} are damaged: {file} {why}; if you no longer need the run, delete the"
            " folder",
            error,
        ) from error


def find_supervisor(folder: Path) -> int | None:
    """Process id of the run's supervisor, 0 while it starts or if its id is not known; ``None`` if it is dead."""
    import fcntl

    known = read_processes(folder).supervisor
    alive = known.pid if known is not None and known.is_alive else None
    try:
        lock = open_file(folder / "lock")
    except OSError:  # without it, the process id alone tells
        return alive
    with os.fdopen(lock, "rb") as file:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            told = re.fullmatch(rb"[1-9]\d{0,9}", file.read(20).strip())
            # What the lock says may be tampered with; it is needed until there is a first status.
            return alive or (int(told[0]) if told and known is None else 0)
        except OSError:  # a disk without locks
            return alive
    return None


@contextlib.contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Hold a lock that no other process has meanwhile; it is given up if this one dies.

    Raises:
        BackendError: It cannot be had, or another process holds it for a minute.
    """
    import fcntl

    try:
        descriptor = open_private(path, os.O_RDWR)
    except OSError as error:
        raise BackendError(f"{path} cannot be written: {error.strerror or error}", error) from error
    with os.fdopen(descriptor, "r+b") as lock:
        deadline = time.monotonic() + _RESUMING
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise BackendError(f"another process has locked {path}: try again later", error) from error
            time.sleep(0.02)
        yield


def _take(
    fields: dict[str, Any], name: str, is_right: Callable[[Any], bool], what: str, *, optional: bool = False
) -> Any:
    value = fields.get(name)
    if (value is None and optional) or is_right(value):
        return value
    raise ValueError(f"has a {name} that is not {what}" if name in fields else f"lacks {name}")


def _time(fields: dict[str, Any], name: str, *, optional: bool = False) -> datetime | None:
    text = _take(fields, name, _is_text, "a time", optional=optional)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(f"has a {name} that is not a time with an offset from UTC")
    return found.astimezone(UTC)


def _is_text(value: object) -> bool:
    """Whether this is text that a path, an environment and a terminal can take."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w-][\w.-]*", value) is not None


def _is_path(value: object) -> bool:
    return isinstance(value, str) and _is_text(value) and value.startswith("/")


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, cast("list[object]", value)))


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, chain(*cast("dict[object, object]", value).items())))


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1e9
