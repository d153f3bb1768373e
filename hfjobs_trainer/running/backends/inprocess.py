"""A backend on which nothing runs, for tests of your own code: the test decides how each job ends."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hfjobs_trainer.errors import BackendError, JobNotFound
from hfjobs_trainer.facts.backends import INPROCESS, BackendTraits
from hfjobs_trainer.running.backends.base import RESUMES_LABEL, TERMINAL, JobRecord, JobStatus, Stage
from hfjobs_trainer.running.events import visible_lines
from hfjobs_trainer.running.planned import read_planned

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan

PREFIX = "inprocess/"


@dataclass(slots=True)
class _Entry:
    record: JobRecord
    status: JobStatus
    plan: Plan
    log: list[str] = field(default_factory=list[str])


class InProcessBackend:
    """Accepts plans and runs nothing, for tests of your own code.

    A job is RUNNING until ``finish`` ends it. Safe to use from several threads.

    Attributes:
        plans: Every plan that was submitted, oldest first.
    """

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self._jobs: dict[str, _Entry] = {}
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"InProcessBackend({len(self._jobs)} jobs)"

    @property
    def name(self) -> str:
        """``"inprocess"``."""
        return self.traits.name

    @property
    def traits(self) -> BackendTraits:
        """What planning needs to know about this backend."""
        return INPROCESS

    def submit(self, plan: Plan) -> JobRecord:
        """Record the plan; its job is RUNNING from now on."""
        with self._changed:
            self.plans.append(plan)
            request = plan.request
            job_id, now = f"{PREFIX}{request.name}-{len(self.plans)}", datetime.now(UTC)
            planned = read_planned(request.env)
            record = JobRecord(
                job_id, labels=dict(request.labels), flavor=request.flavor, created_at=now, planned=planned
            )
            self._jobs[job_id] = _Entry(record, JobStatus("RUNNING", created_at=now, started_at=now), plan)
            return record

    def resume(self, job_id: str, *, timeout_seconds: int | None = None, flavor: str | None = None) -> JobRecord:
        """Record the plan of an ended job again, with these changes; the new job is RUNNING from now on.

        Raises:
            BackendError: It has not ended, or a job that resumes it goes on.
        """
        with self._changed:
            plan, name = self._entry(job_id).plan, job_id.removeprefix(PREFIX)
            for other in (job_id, *(record.id for record in self.list({RESUMES_LABEL: name}))):
                if not self._entry(other).status.is_terminal:
                    raise BackendError(f"job {job_id} cannot be resumed: job {other} goes on")
            old = plan.request
            request = dataclasses.replace(
                old,
                labels={**old.labels, RESUMES_LABEL: name},
                flavor=flavor or old.flavor,
                timeout_seconds=timeout_seconds or old.timeout_seconds,
            )
            return self.submit(dataclasses.replace(plan, request=request))

    def write(self, job_id: str, *lines: str) -> None:
        """Add lines to the job's log, as its script would."""
        with self._changed:
            self._entry(job_id).log.extend(lines)
            self._changed.notify_all()

    def finish(
        self, job_id: str, stage: Stage = "COMPLETED", logs: Iterable[str] = (), message: str | None = None
    ) -> None:
        """End a job.

        Args:
            job_id: The job.
            stage: How it ends: COMPLETED, ERROR, CANCELED or DELETED.
            logs: Lines that it logs before it ends.
            message: What the status says about it.

        Raises:
            BackendError: The stage is not a final one, or the job has ended already.
        """
        if stage not in TERMINAL:
            raise BackendError(f"{stage} does not end a job: choose one of {', '.join(sorted(TERMINAL))}")
        with self._changed:
            entry = self._entry(job_id)
            if entry.status.is_terminal:
                raise BackendError(f"job {job_id} has ended already, in {entry.status.stage}")
            entry.log.extend(logs)
            now = datetime.now(UTC)
            entry.status = dataclasses.replace(entry.status, stage=stage, message=message, finished_at=now)
            self._changed.notify_all()

    def inspect(self, job_id: str) -> JobRecord:
        """The record of a job; raises ``JobNotFound`` if there is none."""
        with self._changed:
            return self._entry(job_id).record

    def status(self, job_id: str) -> JobStatus:
        """The current status of the job."""
        with self._changed:
            return self._entry(job_id).status

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """The lines of the log; with ``follow``, until the job has ended."""
        self.inspect(job_id)
        return self._read_log(job_id, follow=follow)

    def cancel(self, job_id: str) -> None:
        """End the job in stage CANCELED; do nothing if it has ended already."""
        with self._changed:
            if not self._entry(job_id).status.is_terminal:
                self.finish(job_id, "CANCELED")

    def usd_per_hour(self, flavor: str | None) -> float | None:
        """``0.0``: nothing runs, so it costs nothing."""
        return 0.0

    def list(self, labels: dict[str, str]) -> list[JobRecord]:
        """Jobs with all of these labels, newest first."""
        with self._changed:
            records = [entry.record for entry in self._jobs.values()]
        return [record for record in reversed(records) if labels.items() <= record.labels.items()]

    def _entry(self, job_id: str) -> _Entry:
        if job_id not in self._jobs:
            raise JobNotFound(f"no job {job_id!r} was submitted to this backend")
        return self._jobs[job_id]

    def _read_log(self, job_id: str, *, follow: bool) -> Iterator[str]:
        read = 0
        while True:
            with self._changed:
                entry = self._entry(job_id)
                while follow and len(entry.log) == read and not entry.status.is_terminal:
                    self._changed.wait()
                fresh, ended = entry.log[read:], entry.status.is_terminal or not follow
            for line in fresh:
                yield from visible_lines(line)
            read += len(fresh)
            if ended:
                return
