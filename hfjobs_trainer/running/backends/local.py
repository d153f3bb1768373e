"""Runs on this machine: the same script, in a separate process that outlives the one that submitted it."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from hfjobs_trainer.contents import cache_home
from hfjobs_trainer.display import plural, shown
from hfjobs_trainer.errors import BackendError, JobNotFound
from hfjobs_trainer.facts.backends import LOCAL, BackendTraits
from hfjobs_trainer.find_uv import find_links, find_uv
from hfjobs_trainer.planning.labels import RESUMES_LABEL, RUN_ID, RUN_LABEL
from hfjobs_trainer.running.backends import processes, supervise
from hfjobs_trainer.running.backends.base import JobRecord, JobRecords, JobStatus, Usage
from hfjobs_trainer.running.backends.heirs import left_of
from hfjobs_trainer.running.backends.local_ends import stop_run
from hfjobs_trainer.running.backends.local_files import open_file
from hfjobs_trainer.running.backends.local_folder import (
    PREFIX,
    damage_told,
    exclusive,
    find_supervisor,
    holds_run,
    is_of,
    read_processes,
    read_record,
    read_request,
    read_script,
    read_status,
    run_folders,
)
from hfjobs_trainer.running.backends.local_start import launch
from hfjobs_trainer.running.backends.local_usage import memory_usage
from hfjobs_trainer.running.events import visible_lines
from hfjobs_trainer.running.planned import TIMEOUT

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import JobRequest, Plan

Interpreter = Literal["uv", "current"]
PYTHON = "HFT_PYTHON"
"""Environment variable with the interpreter of a backend that names none."""
# Between two looks at a log that is followed, seconds.
POLL_SECONDS = 0.2
# Between SIGTERM and SIGKILL, seconds.
GRACE_SECONDS = 10.0
# A line of a log that is longer is read in parts, bytes; no event is.
LONGEST_LINE = supervise.LONGEST_LINE
_ZEROS = bytes(1 << 20)


class LocalBackend:
    """Runs plans on this machine, each in a folder of its own.

    The folder holds ``script.py``, ``log.txt`` (stdout and stderr, interleaved), ``events.jsonl``, ``record.json``
    (labels, command, environment of the request, names of the secrets), ``status.json`` and, if the script tracks its
    metrics locally, ``trackio/``. It is the script's working directory, so that a relative ``output_dir`` lands there.
    A run that is resumed stays in the folder of its first job. Folders and files are this user's alone.

    Args:
        root: Folder of the run folders; default: ``$HFT_HOME/runs``, else ``hfjobs_trainer/runs`` in the user's cache.
        python: ``"uv"`` runs the script in its own environment with the versions pinned in its header; ``"current"``
            runs it with the interpreter and the packages of this process. Default: ``$HFT_PYTHON``, else ``"uv"``.
        grace_seconds: Seconds that a script has to end by itself after a cancel or the timeout.

    Raises:
        BackendError: This is Windows, outside WSL.
        ValueError: ``python`` is neither ``"uv"`` nor ``"current"``.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        python: Interpreter | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        try:
            import fcntl as _  # noqa: F401 - Windows lacks it; the package can still be imported there
        except ImportError as error:
            why = "the local backend needs Linux or macOS; on Windows, use it inside WSL"
            raise BackendError(why, error) from error
        given = python or os.environ.get(PYTHON) or "uv"
        if given not in get_args(Interpreter):
            told = f"{PYTHON}={given}" if python is None else f"python={python!r}"
            raise ValueError(f'{told}: must be "uv" or "current"')
        self.root = (Path(root) if root is not None else default_root()).expanduser().absolute()
        self.python = cast("Interpreter", given)
        self.grace_seconds = grace_seconds

    def __repr__(self) -> str:
        return f"LocalBackend(root={str(self.root)!r}, python={self.python!r})"

    @property
    def name(self) -> str:
        """``"local"``."""
        return self.traits.name

    @property
    def traits(self) -> BackendTraits:
        """What planning needs to know about this backend."""
        return LOCAL

    def submit(self, plan: Plan) -> JobRecord:
        """Start the plan's script in the background; what the request asks of Hugging Face Jobs alone is not used.

        Raises:
            BackendError: A secret is not set, uv is missing, the folder cannot be written, or the script cannot be
                started. Nothing is left behind, as after an interrupt.
        """
        request = plan.request
        check_secrets(request.secrets)
        command = self._command()

        def describe(folder: Path) -> dict[str, Any]:
            return self._describe(folder, request, command)

        return launch(self.root, request.name, request.script, describe)

    def resume(self, job_id: str, *, timeout_seconds: int | None = None, flavor: str | None = None) -> JobRecord:
        """Start the script of a job again, in the working directory of the run, with a run folder of its own.

        Raises:
            BackendError: It has not ended, another job of the run goes on or has ended well, ``flavor`` is given, or
                as for ``submit``.
        """
        if flavor is not None:
            raise BackendError(f"flavor={flavor!r}: a run on this machine has no flavor; leave it out")
        old = self._folder(job_id)
        record = read_request(old)
        home = Path(record.get("cwd") or old)
        if not os.path.lexists(home / "script.py"):
            raise BackendError(f"job {job_id} cannot be resumed: the script of its run, {home / 'script.py'}, is gone")
        check_secrets(record["secrets"])
        with exclusive(home / "resuming"):
            self._refuse_rivals(job_id, home)
            seconds = record["timeout_seconds"] if timeout_seconds is None else timeout_seconds
            timeout = {TIMEOUT: str(seconds)} if TIMEOUT in record["env"] or timeout_seconds else {}
            run = {RUN_LABEL: record["env"][RUN_ID], RESUMES_LABEL: old.name}

            def describe(folder: Path) -> dict[str, Any]:
                return record | {
                    "id": PREFIX + folder.name,
                    "labels": record["labels"] | run,
                    "created_at": supervise.now(),
                    "env": record["env"] | timeout,
                    "timeout_seconds": seconds,
                    "cwd": str(home),
                }

            return launch(self.root, record["name"], read_script(home), describe)

    def _refuse_rivals(self, job_id: str, home: Path) -> None:
        """Raise ``BackendError`` if a job of the run goes on, or has ended well."""
        for folder in {home, *run_folders(self.root)}:
            if folder != home and not is_of(folder, home):
                continue
            rival = PREFIX + folder.name
            if not (status := self.status(rival)).is_terminal:
                why = f'job {rival} of the run is {status.stage}: hft.Job.from_id("{rival}") finds it'
            elif status.succeeded:
                why = f"the run ended well as job {rival}: nothing is left to do"
            elif left := left_of(folder, read_processes(folder).script):
                end = f'hft.Job.from_id("{rival}").cancel()'
                why = f"its script is still running, as process {left[0]}: wait for it to end, or stop it with {end}"
            else:
                continue
            raise BackendError(f"job {job_id} cannot be resumed: {why}")

    def inspect(self, job_id: str) -> JobRecord:
        """The record of a job; raises ``JobNotFound`` if there is none under this root."""
        return read_record(self._folder(job_id))

    def status(self, job_id: str) -> JobStatus:
        """The current status of the job; ERROR also if its supervisor died without a report."""
        folder = self._folder(job_id)
        status = read_status(folder)
        if status.is_terminal or find_supervisor(folder) is not None:
            return status
        # It may have ended between the two looks.
        status = read_status(folder)
        if status.is_terminal:
            return status
        return JobStatus("ERROR", supervise.DIED, status.created_at, status.started_at)

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """The lines of the log, a progress bar as its last state; with ``follow``, until the job ends."""
        folder = self._folder(job_id)
        return self._read_log(job_id, folder / "log.txt", follow=follow)

    def usage(self, job_id: str) -> Usage | None:
        """The memory of the run's processes and of this machine; ``None`` where it has no ``/proc``."""
        script = read_processes(self._folder(job_id)).script
        if script is None or not script.is_alive:
            return None
        return memory_usage(processes.descendants(script.pid, group=script.pid))

    def cancel(self, job_id: str) -> None:
        """Ask the job to stop; after the grace period it is killed. It may not have begun yet.

        Of a job whose supervisor has died, what still runs is ended, which is waited for.

        Raises:
            BackendError: A process of the job does not end, or the disk is too full to cancel a job that begins.
        """
        stop_run(self._folder(job_id), self.grace_seconds)

    def usd_per_hour(self, flavor: str | None) -> float | None:
        """This machine costs nothing."""
        return 0.0

    def list(self, labels: dict[str, str]) -> JobRecords:
        """Jobs under this root with all of these labels, newest first; its note tells of those that are damaged."""
        found = JobRecords()
        left_out: list[BackendError] = []
        for folder in run_folders(self.root):
            try:
                record = read_record(folder)
            except BackendError as error:
                if holds_run(folder):  # else it was deleted meanwhile
                    left_out.append(error)
                continue
            if labels.items() <= record.labels.items():
                found.append(record)
        found.sort(key=lambda record: (record.created_at, record.id), reverse=True)
        if left_out:
            found.note = f"{plural(len(left_out), 'run')} left out: {left_out[0]}"
        return found

    def _command(self) -> list[str]:
        if self.python == "current":
            return [sys.executable, "script.py"]
        return [find_uv(), "run", "--no-project", "--python", sys.executable, "script.py"]

    def _describe(self, folder: Path, request: JobRequest, command: list[str]) -> dict[str, Any]:
        """What ``record.json`` holds of a new run."""
        env = {
            "PYTHONUNBUFFERED": "1",
            "TRACKIO_DIR": str(folder / "trackio"),
            **request.env,
            RUN_ID: folder.name,
        }
        if self.python == "uv":
            env = find_links() | env
        return {
            "id": PREFIX + folder.name,
            "name": request.name,
            "labels": dict(request.labels),
            "created_at": supervise.now(),
            "command": command,
            # A secret comes from the caller's environment, which the script inherits.
            "env": {name: value for name, value in env.items() if name not in request.secrets},
            "secrets": list(request.secrets),
            "timeout_seconds": request.timeout_seconds,
            "grace_seconds": self.grace_seconds,
        }

    def _folder(self, job_id: str) -> Path:
        name = job_id.removeprefix(PREFIX)
        # A name has 255 bytes at most, on every usual file system.
        if re.fullmatch(r"\w[\w.-]*", name) and len(name.encode()) <= 255 and holds_run(self.root / name):
            return self.root / name
        raise JobNotFound(
            f"no job {shown(job_id)} under {self.root}; if it was started with another root, name it:"
            " LocalBackend(root=...)"
        )

    def _read_log(self, job_id: str, path: Path, *, follow: bool) -> Iterator[str]:
        partial = b""
        with damage_told(path.parent, path.name):
            log = os.fdopen(open_file(path), "rb", buffering=0)
        with log:
            while True:
                # Asked first, so that what is read afterwards is all there will be.
                ended = not follow or self.status(job_id).is_terminal
                while chunk := _read_chunk(log, path):
                    *lines, partial = (partial + chunk).split(b"\n")
                    if len(partial) > LONGEST_LINE:
                        lines, partial = [*lines, partial], b""
                    for line in lines:
                        yield from visible_lines(line.decode("utf-8", "replace"))
                if ended:
                    break
                time.sleep(POLL_SECONDS)
        if partial:
            yield from visible_lines(partial.decode("utf-8", "replace"))


def _read_chunk(log: FileIO, path: Path) -> bytes:
    """The next part of a log; empty at its end."""
    with damage_told(path.parent, path.name):
        while chunk := log.read(len(_ZEROS)):
            # Zeros are what a crash leaves where it lost what was written; a terminal shows nothing of them.
            if chunk != _ZEROS[: len(chunk)]:
                if text := chunk.translate(None, b"\0"):
                    return text
            else:
                _skip_hole(log)
    return b""


def _skip_hole(log: FileIO) -> None:
    """Go to where the file holds something, if the system tells: of a hole there may be any amount."""
    end = os.fstat(log.fileno()).st_size
    try:
        log.seek(log.tell(), getattr(os, "SEEK_DATA", os.SEEK_SET))
    except OSError as error:
        if error.errno == errno.ENXIO:  # there is nothing more; what is written meanwhile comes after that end
            log.seek(max(end, log.tell()))


def default_root() -> Path:
    """Where run folders are by default."""
    return cache_home() / "runs"


def check_secrets(names: Sequence[str]) -> None:
    """Raise ``BackendError`` for secrets that the environment lacks; a token may also come from ``hf auth login``."""
    missing = [name for name in names if name != "HF_TOKEN" and not os.environ.get(name)]
    if missing:
        raise BackendError(
            f"not set in the environment: {', '.join(missing)}. Type `export {missing[0]}=...` first, or remove it from"
            " the spec's secrets"
        )
