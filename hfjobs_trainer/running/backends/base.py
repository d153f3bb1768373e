"""What every backend can do: the seam between a plan and the place where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendTraits
    from hfjobs_trainer.planning.plan import Plan

Stage = Literal["SCHEDULING", "RUNNING", "COMPLETED", "ERROR", "CANCELED", "DELETED"]
TERMINAL: frozenset[str] = frozenset({"COMPLETED", "ERROR", "CANCELED", "DELETED"})


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job is in its life, in the words of Hugging Face Jobs.

    Attributes:
        stage: One of SCHEDULING, RUNNING, COMPLETED, ERROR, CANCELED, DELETED; the last four are final.
        message: What the backend says about it, such as ``"Job timeout"``.
        created_at, started_at, finished_at: Aware UTC times; ``None`` before they happen.
        members: Where each node is, by rank, if the run has several; empty otherwise.
    """

    stage: Stage
    message: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    members: tuple[JobStatus, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.stage in TERMINAL

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended well."""
        return self.stage == "COMPLETED"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What a backend knows of a job beside its status.

    Attributes:
        id: The id that ``Job.from_id`` takes: ``"namespace/id"`` on the Hub, ``"local/id"`` here.
        url: Page of the job; ``None`` where it has none.
        labels: As submitted.
        flavor: Flavor it runs on; ``None`` on this machine.
        created_at: Aware UTC time.
        folder: The run folder of a local job; ``None`` elsewhere.
        members: Ids of the jobs of each node, by rank, if the run has several; the first is ``id``.
    """

    id: str
    url: str | None = None
    labels: dict[str, str] = field(default_factory=dict[str, str])
    flavor: str | None = None
    created_at: datetime | None = None
    folder: str | None = None
    members: tuple[str, ...] = ()


class Backend(Protocol):
    """A place where plans run. Every method may raise ``BackendError``."""

    @property
    def name(self) -> str:
        """``"hub"``, ``"local"``, ``"inprocess"`` or a name of your own."""
        ...

    @property
    def traits(self) -> BackendTraits:
        """What a plan must know of the place; a backend without it gets the defaults of ``BackendTraits``."""
        ...

    def submit(self, plan: Plan) -> JobRecord:
        """Start the plan's script; return once the backend has accepted it."""
        ...

    def inspect(self, job_id: str) -> JobRecord:
        """What is known of a job; raise ``JobNotFound`` if there is none."""
        ...

    def status(self, job_id: str) -> JobStatus:
        """Where the job is now."""
        ...

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """The log's lines from the first; with ``follow``, until the job has ended."""
        ...

    def cancel(self, job_id: str) -> None:
        """Stop the job; do nothing if it has ended already."""
        ...

    def usd_per_hour(self, flavor: str | None) -> float | None:
        """Price of a machine, US dollars an hour; ``None`` if it is unknown."""
        ...

    def list(self, labels: dict[str, str]) -> list[JobRecord]:
        """Jobs that carry all of these labels, newest first."""
        ...


@runtime_checkable
class Resumes(Protocol):
    """A backend that can also resume a run; one that cannot simply lacks the method."""

    def resume(self, job_id: str, *, timeout_seconds: int | None = None, flavor: str | None = None) -> JobRecord:
        """Start the job's script again as the same run (``HFT_RUN_ID``), so that it continues its last checkpoint.

        Args:
            job_id: A job that has ended.
            timeout_seconds: When the new job is ended; ``None`` as for the first one.
            flavor: What it runs on; ``None`` as for the first one.
        """
        ...
