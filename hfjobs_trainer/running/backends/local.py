"""Runs on this machine: the same script, in a separate process that outlives the one that submitted it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from hfjobs_trainer.contents import cache_home
from hfjobs_trainer.errors import BackendError, JobNotFound
from hfjobs_trainer.facts.backends import LOCAL, BackendTraits
from hfjobs_trainer.find_uv import find_links, find_uv
from hfjobs_trainer.running.backends import processes, supervise
from hfjobs_trainer.running.backends.base import RESUMES_LABEL, RUN_LABEL, JobRecord, JobStatus, Usage
from hfjobs_trainer.running.backends.local_folder import (
    damage_told,
    find_supervisor,
    is_of,
    read_record,
    read_request,
    read_status,
    record_of,
    script_process,
)
from hfjobs_trainer.running.backends.local_usage import memory_usage
from hfjobs_trainer.running.events import visible_lines

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import JobRequest, Plan

Interpreter = Literal["uv", "current"]
PREFIX = "local/"
# Between two looks at a log that is followed, seconds.
POLL_SECONDS = 0.2
# Between SIGTERM and SIGKILL, seconds.
GRACE_SECONDS = 10.0


class LocalBackend:
    """Runs plans on this machine, each in a folder of its own.

    The folder holds ``script.py``, ``log.txt`` (stdout and stderr, interleaved), ``events.jsonl``, ``record.json``
    (labels, command, environment of the request, names of the secrets), ``status.json`` and, if the script tracks its
    metrics locally, ``trackio/``. It is the script's working directory, so that a relative ``output_dir`` lands there.
    A run that is resumed stays in the folder of its first job.

    Args:
        root: Folder of the run folders; default: ``$HFT_HOME/runs``, else ``hfjobs_trainer/runs`` in the user's cache.
        python: ``"uv"`` runs the script in its own environment with the versions pinned in its header; ``"current"``
            runs it with the interpreter and the packages of this process.
        grace_seconds: Seconds that a script has to end by itself after a cancel or the timeout.

    Raises:
        BackendError: This is Windows, outside WSL.
        ValueError: ``python`` is neither ``"uv"`` nor ``"current"``.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        python: Interpreter = "uv",
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        try:
            import fcntl as _  # noqa: F401 - Windows lacks it; the package can still be imported there
        except ImportError as error:
            why = "the local backend needs Linux or macOS; on Windows, use it inside WSL"
            raise BackendError(why, error) from error
        if python not in get_args(Interpreter):
            raise ValueError(f'python={python!r}: must be "uv" or "current"')
        self.root = (Path(root) if root is not None else default_root()).expanduser().absolute()
        self.python = python
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
                started. No folder is left behind.
        """
        request = plan.request
        check_secrets(request.secrets)
        command = self._command()

        def describe(folder: Path) -> dict[str, Any]:
            return self._describe(folder, request, command)

        return self._launch(request.name, request.script, describe)

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
        if not (home / "script.py").is_file():
            raise BackendError(f"job {job_id} cannot be resumed: the script of its run, {home / 'script.py'}, is gone")
        check_secrets(record["secrets"])
        with exclusive(home / "resuming"):
            self._refuse_rivals(job_id, home)
            seconds = record["timeout_seconds"] if timeout_seconds is None else timeout_seconds
            timeout = {"HFT_TIMEOUT": str(seconds)} if "HFT_TIMEOUT" in record["env"] or timeout_seconds else {}
            run = {RUN_LABEL: record["env"]["HFT_RUN_ID"], RESUMES_LABEL: old.name}

            def describe(folder: Path) -> dict[str, Any]:
                return record | {
                    "id": PREFIX + folder.name,
                    "labels": record["labels"] | run,
                    "created_at": supervise.now(),
                    "env": record["env"] | timeout,
                    "timeout_seconds": seconds,
                    "cwd": str(home),
                }

            return self._launch(record["name"], (home / "script.py").read_text("utf-8"), describe)

    def _refuse_rivals(self, job_id: str, home: Path) -> None:
        """Raise ``BackendError`` if a job of the run goes on, or has ended well."""
        for folder in {home, *(path.parent for path in self.root.glob("*/record.json"))}:
            if folder != home and not is_of(folder, home):
                continue
            rival = PREFIX + folder.name
            if not (status := self.status(rival)).is_terminal:
                why = f'job {rival} of the run is {status.stage}: hft.Job.from_id("{rival}") finds it'
            elif status.succeeded:
                why = f"the run ended well as job {rival}: nothing is left to do"
            elif (pid := script_process(folder)) is not None:
                why = f"its script still runs, as process {pid}: end that first, with `kill {pid}`"
            else:
                continue
            raise BackendError(f"job {job_id} cannot be resumed: {why}")

    def _launch(self, name: str, script: str, describe: Callable[[Path], dict[str, Any]]) -> JobRecord:
        """Start a script as a new job, whose record ``describe`` gives for its folder."""
        folder = None
        try:
            folder = self._make_folder(name)
            return self._start(folder, script, describe(folder))
        except (BackendError, OSError) as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, BackendError):
                raise
            raise BackendError(
                f"the run folder under {self.root} could not be written: {error}; choose another place with"
                " LocalBackend(root=...) or the environment variable HFT_HOME",
                error,
            ) from error

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
        return JobStatus("ERROR", "the supervisor of this run died", status.created_at, status.started_at)

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """The lines of the log, a progress bar as its last state; with ``follow``, until the job ends."""
        folder = self._folder(job_id)
        return self._read_log(job_id, folder / "log.txt", follow=follow)

    def usage(self, job_id: str) -> Usage | None:
        """The memory of the run's processes and of this machine; ``None`` where it has no ``/proc``."""
        pid = script_process(self._folder(job_id))
        return None if pid is None else memory_usage(processes.descendants(pid, group=pid))

    def cancel(self, job_id: str) -> None:
        """Ask the job to stop; after the grace period it is killed."""
        folder = self._folder(job_id)
        pid = find_supervisor(folder)
        if pid and not read_status(folder).is_terminal:
            processes.signal_process(pid, signal.SIGTERM)

    def usd_per_hour(self, flavor: str | None) -> float | None:
        """This machine costs nothing."""
        return 0.0

    def list(self, labels: dict[str, str]) -> list[JobRecord]:
        """Jobs under this root with all of these labels, newest first."""
        found: list[JobRecord] = []
        for path in self.root.glob("*/record.json"):
            with contextlib.suppress(BackendError):
                record = read_record(path.parent)
                if labels.items() <= record.labels.items():
                    found.append(record)
        return sorted(found, key=lambda record: (record.created_at, record.id), reverse=True)

    def _command(self) -> list[str]:
        if self.python == "current":
            return [sys.executable, "script.py"]
        return [find_uv(), "run", "--no-project", "--python", sys.executable, "script.py"]

    def _make_folder(self, name: str) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        while True:
            folder = self.root / f"{stamp}-{name}-{secrets.token_hex(3)}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder

    def _describe(self, folder: Path, request: JobRequest, command: list[str]) -> dict[str, Any]:
        """What ``record.json`` holds of a new run."""
        env = {
            "PYTHONUNBUFFERED": "1",
            "TRACKIO_DIR": str(folder / "trackio"),
            **request.env,
            "HFT_RUN_ID": folder.name,
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

    def _start(self, folder: Path, script: str, record: dict[str, Any]) -> JobRecord:
        import fcntl

        (folder / "script.py").write_text(script, "utf-8")
        (folder / "log.txt").touch()
        # Held by the supervisor as long as it lives: whether it does needs no process id, which another may get.
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            supervise.write_json(folder / "record.json", record)
            started = subprocess.run(
                [sys.executable, "-m", supervise.__name__, str(folder), str(lock.fileno())],
                cwd=Path(supervise.__file__).parents[3],  # where the package is found, installed or not
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,
                check=False,
            )
        told = started.stdout.decode("utf-8", "replace").strip()
        if told != supervise.STARTED:
            raise BackendError(f"the script could not be started: {told or 'its supervisor exited immediately'}")
        return record_of(folder, record)

    def _folder(self, job_id: str) -> Path:
        name = job_id.removeprefix(PREFIX)
        folder = self.root / name
        if not re.fullmatch(r"\w[\w.-]*", name) or not (folder / "record.json").is_file():
            raise JobNotFound(
                f"no job {job_id!r} under {self.root}; if it was started with another root, name it:"
                " LocalBackend(root=...)"
            )
        return folder

    def _read_log(self, job_id: str, path: Path, *, follow: bool) -> Iterator[str]:
        partial = b""
        with damage_told(path.parent):
            log = path.open("rb")
        with log:
            while True:
                # Asked first, so that what is read afterwards is all there will be.
                ended = not follow or self.status(job_id).is_terminal
                while chunk := log.read(1 << 20):
                    *lines, partial = (partial + chunk).split(b"\n")
                    for line in lines:
                        yield from visible_lines(line.decode("utf-8", "replace"))
                if ended:
                    break
                time.sleep(POLL_SECONDS)
        if partial:
            yield from visible_lines(partial.decode("utf-8", "replace"))


def default_root() -> Path:
    """Where run folders are by default."""
    return cache_home() / "runs"


@contextlib.contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Hold a lock that no other process has meanwhile; it is given up if this one dies."""
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_secrets(names: Sequence[str]) -> None:
    """Raise ``BackendError`` for secrets that the environment lacks; a token may also come from ``hf auth login``."""
    missing = [name for name in names if name != "HF_TOKEN" and not os.environ.get(name)]
    if missing:
        raise BackendError(
            f"not set in the environment: {', '.join(missing)}. Type `export {missing[0]}=...` first, or remove it from"
            " the spec's secrets"
        )
