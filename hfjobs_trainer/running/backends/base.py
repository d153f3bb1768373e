"""What every backend can do: the seam between a plan and the place where it runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from hfjobs_trainer.display import html_pairs, plural
from hfjobs_trainer.running.planned import Planned

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendTraits
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.running.events import Event
    from hfjobs_trainer.running.outage import Tolerance

RUN_LABEL, RESUMES_LABEL = "run", "resumes"
"""Labels by which the jobs of one run are found: its ``HFT_RUN_ID``, and the job that this one resumes."""
SPEC_LABEL, INPUTS_LABEL = "spec", "inputs"
"""Labels by which identical runs are found: digests of the spec, and of what it was resolved to."""

Stage = Literal["SCHEDULING", "RUNNING", "COMPLETED", "ERROR", "CANCELED", "DELETED"]
TERMINAL: frozenset[str] = frozenset({"COMPLETED", "ERROR", "CANCELED", "DELETED"})


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job, in the terms of Hugging Face Jobs.

    Attributes:
        stage: One of SCHEDULING, RUNNING, COMPLETED, ERROR, CANCELED, DELETED; the last four are final.
        message: The backend's explanation, such as ``"Job timeout"``.
        created_at, started_at, finished_at: Aware UTC times; ``None`` before they happen.
        members: The status of each node, by rank, if the run has several; empty otherwise.
        resumable: Whether the job has ended before its end, and ``job.resume()`` continues a checkpoint of it.
    """

    stage: Stage
    message: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    members: tuple[JobStatus, ...] = ()
    resumable: bool = False

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.stage in TERMINAL

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended well."""
        return self.stage == "COMPLETED"

    @property
    def seconds(self) -> float | None:
        """How long it has run, or ran; ``None`` before it starts."""
        if self.started_at is None:
            return None
        return max(0.0, ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds())

    def __repr__(self) -> str:
        told = (self.message or "")[:200]
        fields = [
            f"stage={self.stage!r}",
            f"message={told!r}" if told else "",
            "resumable=True" if self.resumable else "",
        ]
        fields += [plural(len(self.members), "node")] if self.members else []
        return f"JobStatus({', '.join(filter(None, fields))})"

    def __str__(self) -> str:
        from hfjobs_trainer.planning.duration.ranges import format_seconds

        took = "" if self.seconds is None else f" after {format_seconds(self.seconds)}"
        return f"{self.stage}{took}" + (f" ({self.message})" if self.message else "")

    def _repr_html_(self) -> str:
        rows = {"stage": self.stage, "message": self.message or ""}
        rows |= {name: "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC" for name, at in self._times().items()}
        rows |= {"resumable": "yes" if self.resumable else ""}
        rows |= {f"node {rank}": str(status) for rank, status in enumerate(self.members)}
        return html_pairs({name: value for name, value in rows.items() if value})

    def _times(self) -> dict[str, datetime | None]:
        return {"created": self.created_at, "started": self.started_at, "finished": self.finished_at}


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The record of a job: id, labels, flavor, folder.

    Attributes:
        id: The id that ``Job.from_id`` takes: ``"namespace/id"`` on the Hub, ``"local/id"`` here.
        url: URL of the job's page; ``None`` if it has none.
        labels: As submitted.
        flavor: Flavor it runs on; ``None`` on this machine.
        created_at: Aware UTC time.
        folder: The run folder of a local job; ``None`` elsewhere.
        members: Ids of the jobs of each node, by rank, if the run has several; the first is ``id``.
        exposes: Whether it has ports that the proxy leads to, which cost extra.
        directory: Working directory of a local job that resumes another, that of the first; ``None``: ``folder``.
        planned: What its plan said, as far as the job carries it.
    """

    id: str
    url: str | None = None
    labels: dict[str, str] = field(default_factory=dict[str, str])
    flavor: str | None = None
    created_at: datetime | None = None
    folder: str | None = None
    members: tuple[str, ...] = ()
    exposes: bool = False
    directory: str | None = None
    planned: Planned = field(default=Planned(), repr=False)


class JobRecords(list[JobRecord]):
    """Records of jobs, newest first.

    Attributes:
        note: What they lack, and why; empty if they are whole.
    """

    note = ""


class LogLines(Iterator[str]):
    """The lines of a log, which can be left from any thread.

    Args:
        lines: The lines; what they end with, if anything, is why some may be missing.
        left: Set once nobody reads any more, so that ``lines`` end.

    Attributes:
        incomplete: Why lines may be missing, known once the last was read; ``None`` if none are.
    """

    def __init__(self, lines: Generator[str, None, str | None], left: threading.Event) -> None:
        self.incomplete: str | None = None
        self._lines, self._left = lines, left

    def __next__(self) -> str:
        try:
            return next(self._lines)
        except StopIteration as end:
            self.incomplete = end.value or self.incomplete
            raise

    def close(self) -> None:
        """Read no more; a thread that waits for the next line gets none."""
        self._left.set()
        with contextlib.suppress(ValueError):  # another thread is in it, and leaves it soon
            self._lines.close()


class Backend(Protocol):
    """A place where plans run. Every method may raise ``BackendError``."""

    @property
    def name(self) -> str:
        """``"hub"``, ``"local"``, ``"inprocess"`` or a name of your own."""
        ...

    @property
    def traits(self) -> BackendTraits:
        """What planning needs to know about this backend; without it, the defaults of ``BackendTraits`` apply."""
        ...

    def submit(self, plan: Plan) -> JobRecord:
        """Start the plan's script; return once the backend has accepted it."""
        ...

    def inspect(self, job_id: str) -> JobRecord:
        """The record of a job; raises ``JobNotFound`` if there is none."""
        ...

    def status(self, job_id: str) -> JobStatus:
        """The current status of the job."""
        ...

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """The lines of the log; with ``follow``, until the job has ended. ``LogLines`` say whether some are missing."""
        ...

    def cancel(self, job_id: str) -> None:
        """Stop the job; do nothing if it has ended already."""
        ...

    def usd_per_hour(self, flavor: str | None) -> float | None:
        """Price of a machine, US dollars per hour; ``None`` if unknown."""
        ...

    def list(self, labels: dict[str, str]) -> list[JobRecord]:
        """Jobs with all of these labels, newest first; ``JobRecords`` where some had to be left out."""
        ...


@runtime_checkable
class Finds(Protocol):
    """A backend that finds runs and their status at once; of others, each status is asked for."""

    def find(
        self, labels: Mapping[str, str], namespace: str | None = None, *, patiently: bool = True
    ) -> list[tuple[JobRecord, JobStatus]]:
        """The runs with all of these labels, newest first, each with its status.

        Args:
            labels: Labels of their jobs.
            namespace: Whose jobs; ``None`` for those of the backend's.
            patiently: Whether what does not answer is asked again.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """The record of a scheduled job.

    Attributes:
        id: The id that ``ScheduledJob.from_id`` takes: ``"namespace/id"``.
        schedule: When it runs, such as ``"@weekly"``.
        labels: Those of each run.
        flavor: Flavor that each run rents.
        created_at: Aware UTC time.
        next_run: When it runs next, aware UTC time; ``None`` if it does not, or the Hub does not say.
        suspended: Whether it is suspended.
        last_run: Id of its last run, ``"namespace/id"``; ``None`` before the first.
        url: URL of the page of its last run.
    """

    id: str
    schedule: str
    labels: dict[str, str] = field(default_factory=dict[str, str])
    flavor: str | None = None
    created_at: datetime | None = None
    next_run: datetime | None = None
    suspended: bool = False
    last_run: str | None = None
    url: str | None = None


class Schedules(Protocol):
    """The scheduled jobs of a backend. Every method may raise ``BackendError``."""

    def submit(self, plan: Plan) -> ScheduleRecord:
        """Have the plan's script run as ``plan.request.schedule`` says, until the schedule is deleted."""
        ...

    def inspect(self, job_id: str) -> ScheduleRecord:
        """The record as it is now; raises ``JobNotFound`` if there is none."""
        ...

    def list(self, labels: dict[str, str]) -> list[ScheduleRecord]:
        """Scheduled jobs with all of these labels, newest first."""
        ...

    def runs(self, job_id: str) -> list[JobRecord]:
        """The runs so far, newest first."""
        ...

    def trigger(self, job_id: str) -> JobRecord:
        """Start a run now, beside the schedule."""
        ...

    def suspend(self, job_id: str) -> None:
        """Start no more runs until it is resumed."""
        ...

    def resume(self, job_id: str) -> None:
        """Start runs again."""
        ...

    def delete(self, job_id: str) -> None:
        """Start no more runs, ever; do nothing if it is deleted already."""
        ...


@runtime_checkable
class Scheduling(Protocol):
    """A backend that can also run a plan again and again; one that cannot simply lacks the attribute."""

    @property
    def schedules(self) -> Schedules:
        """Its scheduled jobs."""
        ...


@runtime_checkable
class Resumes(Protocol):
    """A backend that can also resume a run; one that cannot simply lacks the method."""

    def resume(self, job_id: str, *, timeout_seconds: int | None = None, flavor: str | None = None) -> JobRecord:
        """Start the job's script again as the same run (``HFT_RUN_ID``), so that it continues its last checkpoint.

        Args:
            job_id: A job that has ended.
            timeout_seconds: Timeout of the new job; ``None``: as for the first one.
            flavor: Flavor of the new job; ``None``: as for the first one.

        Returns:
            The record of the new job; its label ``"resumes"`` is the last part of ``job_id``.

        Raises:
            BackendError: It has not ended, or another job of the same run goes on, or its checkpoints are gone.
        """
        ...


@runtime_checkable
class Tolerant(Protocol):
    """A backend that says which of its failures are waited out; else the defaults of ``Tolerance`` apply."""

    @property
    def tolerance(self) -> Tolerance:
        """What is waited out while a job goes on."""
        ...


@runtime_checkable
class Verifies(Protocol):
    """A backend that can look from outside whether what a run says of its end is so; others are believed."""

    def verify(self, events: Iterable[Event]) -> str | None:
        """What is wrong with what a run that ended well has left, by its events; ``None`` if nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a job uses of one GPU.

    Attributes:
        percent: How much of the time it computes.
        used_gib: Memory in use, GiB.
        total_gib: Memory that it has, GiB.
    """

    percent: float
    used_gib: float
    total_gib: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a job uses of its machine at a time; what is not known is ``None``.

    Attributes:
        gpus: Of each GPU; empty without one, or if nothing is known of them.
        cpu_percent: How much of the time of its CPUs it computes.
        used_gib: Memory in use, GiB.
        total_gib: Memory that the machine has, GiB.
    """

    gpus: tuple[Gpu, ...] = ()
    cpu_percent: float | None = None
    used_gib: float | None = None
    total_gib: float | None = None


@runtime_checkable
class Measures(Protocol):
    """A backend that can also say what a job uses of its machine; one that cannot simply lacks the method."""

    def usage(self, job_id: str) -> Usage | None:
        """What the job uses now; ``None`` if it does not run, or nothing is known. Of several nodes, the one named."""
        ...
