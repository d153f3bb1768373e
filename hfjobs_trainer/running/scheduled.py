"""A run that is started again and again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hfjobs_trainer.display import html_link, html_pairs
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends.base import Backend, ScheduleRecord, Schedules, Scheduling
from hfjobs_trainer.running.backends.registry import backend_of, open_backend
from hfjobs_trainer.running.job import Job

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendName


class ScheduledJob:
    """A run that a backend starts again and again, until it is deleted; each run costs money.

    Args:
        record: The backend's record.
        backend: The backend that runs it.

    Raises:
        BackendError: The backend has no schedules.
    """

    def __init__(self, record: ScheduleRecord, backend: Backend) -> None:
        self._record = record
        self._backend = backend
        self._schedules: Schedules = schedules_of(backend)

    @classmethod
    def from_id(
        cls, job_id: str, *, backend: Backend | BackendName | None = None, token: str | None = None
    ) -> ScheduledJob:
        """Find a scheduled job by its id, for instance from another process.

        Args:
            job_id: ``"namespace/id"``.
            backend: Where it runs, a ``Backend`` or its name; default: derived from the id.
            token: Hugging Face token; by default the one of the environment or of ``hf auth login``.

        Raises:
            JobNotFound: There is no such scheduled job, or the token may not see it.
            BackendError: The backend has no schedules.
            ValueError: There is no backend of this name.
        """
        chosen = backend_of(job_id) if backend is None else backend
        if isinstance(chosen, str):
            chosen = open_backend(chosen, token=token)
        return cls(schedules_of(chosen).inspect(job_id), chosen)

    def __repr__(self) -> str:
        return f"ScheduledJob({self.id!r}, schedule={self.schedule!r})"

    def _repr_html_(self) -> str:
        record = self._record
        following = "" if record.next_run is None else f"{record.next_run:%Y-%m-%d %H:%M} UTC"
        rows = {"scheduled job": self.id, "schedule": f"{self.schedule} (UTC)", "on": record.flavor or ""}
        rows["next run"] = "suspended" if record.suspended else following
        link = f"<p>last run: {html_link(record.url, record.last_run or record.url)}</p>" if record.url else ""
        return html_pairs({name: value for name, value in rows.items() if value}) + link

    @property
    def id(self) -> str:
        """The id that ``ScheduledJob.from_id`` takes."""
        return self._record.id

    @property
    def schedule(self) -> str:
        """When it runs, in UTC, such as ``"@weekly"`` or ``"0 3 * * 1"``."""
        return self._record.schedule

    @property
    def url(self) -> str | None:
        """URL of the page of its last run, as of the last ``refresh``; ``None`` before the first."""
        return self._record.url

    @property
    def record(self) -> ScheduleRecord:
        """Labels, flavor, time of creation and the rest, as of the last ``refresh``."""
        return self._record

    @property
    def backend(self) -> Backend:
        """The backend that runs it."""
        return self._backend

    @property
    def next_run(self) -> datetime | None:
        """When it runs next, aware UTC time, asked for now; ``None`` while it is suspended."""
        return self.refresh().record.next_run

    @property
    def suspended(self) -> bool:
        """Whether it is suspended, asked for now."""
        return self.refresh().record.suspended

    def refresh(self) -> ScheduledJob:
        """Read the record anew.

        Returns:
            This scheduled job.

        Raises:
            JobNotFound: It was deleted.
        """
        self._record = self._schedules.inspect(self.id)
        return self

    def jobs(self) -> list[Job]:
        """Its runs so far, newest first."""
        return [Job(record, self._backend) for record in self._schedules.runs(self.id)]

    def trigger(self) -> Job:
        """Start a run now, beside the schedule. This costs money.

        Raises:
            BackendError: The backend refuses it, such as while another run goes on.
        """
        return Job(self._schedules.trigger(self.id), self._backend)

    def suspend(self) -> None:
        """Start no more runs until ``resume``; a run that goes on is not stopped."""
        self._schedules.suspend(self.id)

    def resume(self) -> None:
        """Start runs again, from the next time of the schedule on."""
        self._schedules.resume(self.id)

    def delete(self) -> None:
        """Start no more runs, ever; a run that goes on is not stopped: ``job.cancel()`` does."""
        self._schedules.delete(self.id)


def schedules_of(backend: Backend) -> Schedules:
    """The schedules of a backend.

    Raises:
        BackendError: It has none.
    """
    if not isinstance(backend, Scheduling):
        raise BackendError(f"the backend {backend.name!r} runs nothing on a schedule")
    return backend.schedules
