"""A submitted run: its status, its log, its result."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hfjobs_trainer.display import html_link, html_pairs, html_section, html_table, plural
from hfjobs_trainer.errors import BackendError, HubUnavailable, JobFailed, QuotaError
from hfjobs_trainer.planning.duration.ranges import format_seconds
from hfjobs_trainer.running.backends.base import Backend, JobRecord, JobStatus, Stage
from hfjobs_trainer.running.backends.registry import backend_of, open_backend, traits_at
from hfjobs_trainer.running.events import Event, parse_event, read_events

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendName

# Lines of the log that come with a failure.
TAIL_LINES = 20
# Pauses between two checks of a job's status, seconds: short at first, so that an early failure is seen early.
FIRST_PAUSE, LONGEST_PAUSE, PAUSE_GROWTH = 0.2, 5.0, 1.3
# How many of these checks in a row may fail while waiting for the end: as many as when following a log.
TOLERATED_FAILURES = 30


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a successful run.

    Attributes:
        model: Hub repository if the model was pushed, else its folder on this machine; ``None`` if neither is known.
        url: Page of the model; ``None`` if it was not pushed.
        metrics: The last value of each metric, of training and of evaluation; ``None`` stands for NaN and infinity.
        steps: Optimizer steps done.
        seconds: How long the script ran.
        folder: The run folder; ``None`` unless the run was on this machine.
        log: The log file; ``None`` unless the run was on this machine.
        trackio: Where trackio keeps the run's metrics; ``None`` if not on this machine.
    """

    model: str | None = None
    url: str | None = None
    metrics: dict[str, float | None] = field(default_factory=dict[str, "float | None"])
    steps: int | None = None
    seconds: float | None = None
    folder: Path | None = None
    log: Path | None = None
    trackio: Path | None = None

    def __repr__(self) -> str:
        return f"JobResult(model={self.model!r}, steps={self.steps}, {plural(len(self.metrics), 'metric')})"

    def _repr_html_(self) -> str:
        took = None if self.seconds is None else format_seconds(self.seconds)
        places = {"folder": self.folder, "log": self.log, "trackio": self.trackio}
        rows = {"model": self.model, "steps": self.steps, "time": took, **places}
        metrics = [(name, "-" if value is None else f"{value:.6g}") for name, value in self.metrics.items()]
        link = f"<p>{html_link(self.url, self.url)}</p>" if self.url else ""
        table = html_section(plural(len(metrics), "metric"), html_table(("metric", "last value"), metrics))
        return html_pairs({name: str(value) for name, value in rows.items() if value is not None}) + link + table


class Job:
    """A run that a backend has accepted.

    Args:
        record: The backend's record of the accepted run.
        backend: The backend that runs it.
    """

    def __init__(self, record: JobRecord, backend: Backend) -> None:
        self._record = record
        self._backend = backend
        self._end: JobStatus | None = None

    @classmethod
    def from_id(cls, job_id: str, *, backend: Backend | BackendName | None = None, token: str | None = None) -> Job:
        """Find a job by its id, for instance from another process.

        Args:
            job_id: ``"namespace/id"`` on Hugging Face Jobs, ``"local/..."`` on this machine.
            backend: Where it runs, a ``Backend`` or its name; default: derived from the id.
            token: Hugging Face token; by default the one of the environment or of ``hf auth login``.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
            ValueError: There is no backend of this name.
        """
        chosen = backend_of(job_id) if backend is None else backend
        if isinstance(chosen, str):
            chosen = open_backend(chosen, token=token)
        return cls(chosen.inspect(job_id), chosen)

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def _repr_html_(self) -> str:
        rows = {"job": self.id, "on": self._record.flavor or self._backend.name}
        try:
            rows["stage"] = str(self.status())
            cost = self.cost()
        except BackendError as error:
            rows["stage"] = f"unknown: {error}"
        else:
            rows |= {} if cost is None else {"cost": f"${cost:.2f}"}
        return html_pairs(rows) + (f"<p>{html_link(self.url, self.url)}</p>" if self.url else "")

    @property
    def id(self) -> str:
        """The id that ``Job.from_id`` takes."""
        return self._record.id

    @property
    def url(self) -> str | None:
        """URL of the job's page; ``None`` if it has none."""
        return self._record.url

    @property
    def backend(self) -> Backend:
        """The backend that runs it."""
        return self._backend

    @property
    def record(self) -> JobRecord:
        """Labels, flavor, folder and time of submission."""
        return self._record

    def status(self) -> JobStatus:
        """The current status of the job."""
        status = self._backend.status(self.id)
        self._end = status if status.is_terminal else None
        return status

    @property
    def stage(self) -> Stage:
        """The stage of the job now; once it is known to have ended, nothing is asked any more."""
        return self._now().stage

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, well or not."""
        return self._now().is_terminal

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended well."""
        return self._now().succeeded

    @property
    def message(self) -> str | None:
        """The backend's explanation of the stage, such as ``"Job timeout"``."""
        return self._now().message

    def _now(self) -> JobStatus:
        return self._end or self.status()

    def logs(self, follow: bool = False) -> Iterator[str]:
        """The lines of the log; with ``follow``, until the job has ended."""
        return self._backend.logs(self.id, follow=follow)

    def events(self, follow: bool = False) -> Iterator[Event]:
        """What the script reported, from the first event; with ``follow``, until the job has ended."""
        return read_events(self.logs(follow=follow))

    def watch(self) -> Job:
        """``wait``, and show progress, in a terminal or a notebook; interrupting it leaves the job running.

        Returns:
            This job: ``job.watch().succeeded``.
        """
        from hfjobs_trainer.running.watch import watch

        watch(self)
        return self

    def wait(self, timeout: float | None = None, poll: float = LONGEST_PAUSE) -> Job:
        """Wait until the job has ended, well or not: ``job.wait().raise_for_status()``, ``job.wait().succeeded``.

        Outages of the Hub are waited out: up to 30 checks in a row may fail, each after retries of its own.

        Args:
            timeout: Longest wait in seconds; ``None``: no limit.
            poll: Longest pause between two checks, seconds; the first ones follow each other faster.

        Returns:
            This job.

        Raises:
            TimeoutError: The job has not ended in time; it keeps running. A check under way is finished first.
            HubUnavailable: The Hub stayed unreachable; the job keeps running.
        """
        self.wait_for_end(timeout, poll)
        return self

    def wait_for_end(self, timeout: float | None = None, poll: float = LONGEST_PAUSE) -> JobStatus:
        """``wait`` for the job's end; return its final status."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = min(FIRST_PAUSE, poll)
        stage, failures = "an unknown stage", 0
        while True:
            try:
                status = self.status()
            except (HubUnavailable, QuotaError):  # the latter means too many requests here: checking costs no credits
                failures += 1
                if failures > TOLERATED_FAILURES:
                    raise
            else:
                if status.is_terminal:
                    return status
                stage, failures = status.stage, 0
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"job {self.id} is still in {stage} after {timeout:g} s; it keeps running: wait again, or stop it"
                    " with job.cancel()"
                )
            time.sleep(min(pause, left))
            pause = min(pause * PAUSE_GROWTH, poll)

    def raise_for_status(self) -> Job:
        """Raise ``JobFailed`` if the job has ended without success, with the last lines of the log if they can be read.

        Returns:
            This job.
        """
        self._raise_unless_well(self.status())
        return self

    def _raise_unless_well(self, status: JobStatus) -> None:
        if not status.is_terminal or status.succeeded:
            return
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with contextlib.suppress(BackendError):  # the failure itself is known
            tail.extend(line for line in self.logs() if line.strip() and parse_event(line) is None)
        raise JobFailed(self.id, status, tail)

    def cancel(self) -> None:
        """Stop the job; do nothing if it has ended already."""
        self._backend.cancel(self.id)

    def cost(self) -> float | None:
        """Cost of the job so far in US dollars, for all nodes; ``None`` if the price is unknown.

        The price is today's, and each started minute of a running node counts as a whole one (huggingface/hub-docs:
        docs/hub/jobs-pricing.md says that jobs are billed by the minute while they start or run).
        """
        from hfjobs_trainer.planning.hardware.machine import PROXY_USD_PER_HOUR

        price = self._backend.usd_per_hour(self._record.flavor)
        status = self.status()
        if price is not None and self._record.exposes:
            price += PROXY_USD_PER_HOUR
        return None if price is None else price * sum(map(_minutes, status.members or (status,))) / 60

    def result(self, timeout: float | None = None) -> JobResult:
        """The result of the run: model, metrics, files. Waits for its end.

        Args:
            timeout: Longest wait in seconds; ``None``: no limit.

        Raises:
            JobFailed: It ended without success.
            TimeoutError: The job has not ended in time; it keeps running.
            HubUnavailable: As for ``wait``, or the log could not be read 30 times in a row.
        """
        self._raise_unless_well(self.wait_for_end(timeout))
        folder = Path(self._record.folder) if self._record.folder else None
        metrics: dict[str, float | None] = {}
        last: dict[str, Event] = {}
        for event in self.events(follow=True):  # waits outages out, and reads the whole log
            metrics |= event.metrics
            last[event.kind] = event
        nothing = Event("", 0.0)
        end, pushed = last.get("end", nothing), last.get("pushed", nothing)
        path = end.data.get("output_dir") if traits_at(self._backend).keeps_files else None
        trackio = folder / "trackio" if folder else None
        return JobResult(
            model=pushed.data.get("repo") or path,
            url=pushed.data.get("url"),
            metrics=metrics,
            steps=end.step,
            seconds=end.data.get("seconds"),
            folder=folder,
            log=folder / "log.txt" if folder else None,
            trackio=trackio if trackio and trackio.is_dir() else None,
        )


def _minutes(status: JobStatus) -> int:
    if status.started_at is None:
        return 0
    seconds = ((status.finished_at or datetime.now(UTC)) - status.started_at).total_seconds()
    return math.ceil(max(0.0, seconds) / 60)
