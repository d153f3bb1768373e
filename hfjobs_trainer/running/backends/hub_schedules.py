"""Scheduled jobs on the Hub: one script, run again and again until its schedule is deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hfjobs_trainer.errors import JobNotFound, SubmitInterrupted
from hfjobs_trainer.running.backends.base import JobRecord, ScheduleRecord
from hfjobs_trainer.running.backends.hub_connection import (
    Connection,
    Json,
    Secret,
    without_progress_bars,
    without_request_bodies,
)
from hfjobs_trainer.running.backends.hub_duplicates import JOBS, SCHEDULES, SUBMIT_LABEL, Duplicates
from hfjobs_trainer.running.backends.hub_failures import Asked
from hfjobs_trainer.running.backends.hub_nodes import record_of
from hfjobs_trainer.running.backends.hub_scripts import store, time_for
from hfjobs_trainer.running.backends.hub_submission import Creation, flavor_of
from hfjobs_trainer.told import NOTHING

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo
    from huggingface_hub._jobs_api import ScheduledJobInfo

    from hfjobs_trainer.planning.plan import JobRequest, Plan


LISTED = "hft.scheduled_jobs()"


class HubSchedules:
    """The scheduled jobs of a Hub backend.

    Args:
        connection: The Hub.
        prepare: Gives a request as it is made, its namespace and the values of its secrets.
        split: Gives the namespace and the name in an id.
        home: Gives the namespace of the backend.
    """

    def __init__(
        self,
        connection: Connection,
        prepare: Callable[[JobRequest], tuple[JobRequest, str, dict[str, Secret]]],
        split: Callable[[str], tuple[str, str]],
        home: Callable[[], str],
    ) -> None:
        self._connection = connection
        self._prepare = prepare
        self._split = split
        self._home = home
        self._duplicates = Duplicates(connection, SCHEDULES)

    def submit(self, plan: Plan) -> ScheduleRecord:
        """Upload the plan's script and local data, and create one scheduled job that runs it.

        It is created once and only once, as a job is: a late duplicate is deleted by the next look at the schedule.

        Raises:
            AuthError, QuotaError, HubUnavailable, BackendError: As for a job.
        """
        with time_for(self._connection, plan.request.data), without_progress_bars(), without_request_bodies():
            try:
                request, namespace, secrets = self._prepare(plan.request)
                store(self._connection, namespace, [request.script], request.data)
            except KeyboardInterrupt:
                raise SubmitInterrupted(NOTHING) from None
            return self._record(
                namespace, _Schedule(self._connection, request, namespace, secrets, self._duplicates).create()
            )

    def inspect(self, job_id: str) -> ScheduleRecord:
        """The record as it is now.

        Raises:
            JobNotFound: There is no such scheduled job, or the token may not see it.
        """
        namespace, name = self._split(job_id)
        self._duplicates.cancel(namespace, [name])
        return self._record(namespace, self._look(namespace, name))

    def list(self, labels: dict[str, str]) -> list[ScheduleRecord]:
        """Scheduled jobs of the namespace with all of these labels, newest first."""
        namespace = self._home()
        asked = Asked("list scheduled jobs", "job.read", namespace)
        found = self._connection.get(asked, lambda api: SCHEDULES.find(api, dict(labels), namespace))
        found.sort(key=lambda job: (str(job.created_at), job.id), reverse=True)
        return [self._record(namespace, job) for job in found]

    def runs(self, job_id: str) -> list[JobRecord]:
        """The runs so far, newest first."""
        namespace, name = self._split(job_id)
        labels = dict(SCHEDULES.labels_of(self._look(namespace, name)))
        # of one that this package did not create, all labels together
        wanted = {SUBMIT_LABEL: labels[SUBMIT_LABEL]} if SUBMIT_LABEL in labels else labels
        asked = Asked("list jobs", "job.read", namespace)
        jobs = self._connection.get(asked, lambda api: JOBS.find(api, wanted, namespace))
        jobs = [job for job in jobs if _was_started_by(job, name)]
        jobs.sort(key=lambda job: (str(job.created_at), job.id), reverse=True)
        return [record_of(namespace, job) for job in jobs]

    def trigger(self, job_id: str) -> JobRecord:
        """Start a run now, beside the schedule; a request without an answer is not repeated.

        Raises:
            BackendError: The Hub refuses it, such as while another run goes on.
        """
        namespace, name = self._split(job_id)
        asked = Asked("start a run of the scheduled job", "job.write", namespace, job_id, LISTED)
        outcome = self._connection.attempt(
            lambda api: api.trigger_scheduled_job(scheduled_job_id=name, namespace=namespace)
        )
        if outcome.failure is not None:
            error = outcome.failure.explain(asked)
            if outcome.failure.is_refusal:
                raise error
            raise type(error)(f"{error} Whether a run was started is not known: look with .jobs().", error.cause)
        return record_of(namespace, outcome.get())

    def suspend(self, job_id: str) -> None:
        """Start no more runs until it is resumed; a run that goes on is not stopped."""
        self._change(
            job_id,
            "suspend",
            lambda api, name, namespace: api.suspend_scheduled_job(scheduled_job_id=name, namespace=namespace),
        )

    def resume(self, job_id: str) -> None:
        """Start runs again, from the next time of the schedule on."""
        self._change(
            job_id,
            "resume",
            lambda api, name, namespace: api.resume_scheduled_job(scheduled_job_id=name, namespace=namespace),
        )

    def delete(self, job_id: str) -> None:
        """Start no more runs, ever; a run that goes on is not stopped."""
        try:
            self._change(job_id, "delete", SCHEDULES.end)
        except JobNotFound:
            return

    def _change(self, job_id: str, verb: str, function: Callable[[HfApi, str, str], object]) -> None:
        namespace, name = self._split(job_id)
        self._duplicates.cancel(namespace, [name])
        asked = Asked(f"{verb} the scheduled job", "job.write", namespace, job_id, LISTED)
        self._connection.get(asked, lambda api: function(api, name, namespace))

    def _look(self, namespace: str, name: str) -> ScheduledJobInfo:
        asked = Asked("read the scheduled job", "job.read", namespace, f"{namespace}/{name}", LISTED)
        return self._connection.get(
            asked, lambda api: api.inspect_scheduled_job(scheduled_job_id=name, namespace=namespace)
        )

    def _record(self, namespace: str, job: ScheduledJobInfo) -> ScheduleRecord:
        last = job.status.last_job
        return ScheduleRecord(
            id=f"{namespace}/{job.id}",
            schedule=job.schedule or "",
            labels=dict(SCHEDULES.labels_of(job)),
            flavor=flavor_of(job.job_spec),
            created_at=job.created_at,
            next_run=None if job.suspend else job.status.next_job_run_at,
            suspended=bool(job.suspend),
            last_run=f"{namespace}/{last.id}" if last else None,
            url=self._connection.page_of(f"jobs/{namespace}/{last.id}") if last else None,
        )


class _Schedule(Creation["ScheduledJobInfo"]):
    """One scheduled job to be created."""

    def _run(self, api: HfApi) -> ScheduledJobInfo:
        # a run that takes longer than the schedule is not joined by a second one
        return api.create_scheduled_job(**self.arguments(), schedule=self._request.schedule or "", concurrency=False)

    def _compare(self, job: ScheduledJobInfo) -> dict[str, tuple[object, object]]:
        spec = job.job_spec
        found: dict[str, tuple[object, object]] = {}
        if self._request.resource_group_id:
            path = f"/api/scheduled-jobs/{self._namespace}/{job.id}"
            found = self._compare_group(path, lambda answer: cast(Json, answer["jobSpec"]))
        return (
            found
            | self._compare_common(spec, spec.labels or {})
            | {
                "schedule": (job.schedule, self._request.schedule),
                "timeout": (spec.timeout, self._request.timeout_seconds),
                "suspended": (bool(job.suspend), False),
                "runs at the same time": (bool(job.concurrency), False),
            }
        )


def _was_started_by(job: JobInfo, name: str) -> bool:
    by = job.initiator
    return by is None or (by.type, by.id) == ("scheduled-job", name)
