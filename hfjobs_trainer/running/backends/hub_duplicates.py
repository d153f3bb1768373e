"""A second job of one submission: how it can arise, and how it is ended."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from hfjobs_trainer.running.backends.base import TERMINAL
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.told import tell_created

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo
    from huggingface_hub._jobs_api import ScheduledJobInfo

T = TypeVar("T", bound="JobInfo | ScheduledJobInfo")

SUBMIT_LABEL = "submit-id"
"""Label by which a submission is found again: fresh for each, and on every job of that submission."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What is created: a job, or a schedule of jobs.

    Attributes:
        noun: What it is called.
        find: Those of a namespace with these labels.
        end: Ends the one of a name, in a namespace.
        ended: What has then become of it.
        labels_of: Its labels.
        is_over: Whether nothing is left to end.
        way_to_find: How a user finds those of a client: the name of the client's method.
        way_to_end: What a user types to end one, after the class.
    """

    noun: str
    find: Callable[[HfApi, dict[str, str], str], list[T]]
    end: Callable[[HfApi, str, str], object]
    ended: str
    labels_of: Callable[[T], Mapping[str, str]]
    is_over: Callable[[T], bool]
    way_to_find: str
    way_to_end: tuple[str, str]

    def tell_how_to_end(self, job_id: str) -> str:
        """What a user types to end the one with this id."""
        kind, method = self.way_to_end
        return f'hft.{kind}.from_id("{job_id}").{method}()'

    def tell_created(self, job_id: str) -> str:
        """That the one with this id was created before an interrupt, and what a user types now."""
        kind, method = self.way_to_end
        return tell_created(job_id, noun=self.noun, kind=kind, end=method)


def _find_jobs(api: HfApi, labels: dict[str, str], namespace: str) -> list[JobInfo]:
    return [*api.list_jobs(labels=labels, namespace=namespace)]


def _cancel_job(api: HfApi, name: str, namespace: str) -> None:
    api.cancel_job(job_id=name, namespace=namespace)


def _labels_of_job(job: JobInfo) -> Mapping[str, str]:
    return job.labels or {}


def _has_ended(job: JobInfo) -> bool:
    return job.status.stage in TERMINAL


def _find_schedules(api: HfApi, labels: dict[str, str], namespace: str) -> list[ScheduledJobInfo]:
    return api.list_scheduled_jobs(labels=labels, namespace=namespace)


def _delete_schedule(api: HfApi, name: str, namespace: str) -> None:
    api.delete_scheduled_job(scheduled_job_id=name, namespace=namespace)


def _labels_of_schedule(job: ScheduledJobInfo) -> Mapping[str, str]:
    return job.job_spec.labels or {}


def _never(_: ScheduledJobInfo) -> bool:
    return False


# of named functions: a backend, and all that it holds, can be pickled
JOBS: Kind[JobInfo] = Kind(
    "job", _find_jobs, _cancel_job, "canceled", _labels_of_job, _has_ended, "jobs", ("Job", "cancel")
)
SCHEDULES: Kind[ScheduledJobInfo] = Kind(
    "scheduled job",
    _find_schedules,
    _delete_schedule,
    "deleted",
    _labels_of_schedule,
    _never,
    "scheduled_jobs",
    ("ScheduledJob", "delete"),
)


class Duplicates(Generic[T]):
    """Second jobs that may yet show up, of creations that this backend had to repeat.

    A creation without an answer is repeated once no job of it is listed within ``Patience.search``. The lag of
    the Hub's list is undocumented, so both may run: every look at the run looks for the second one too.

    Args:
        connection: The Hub.
        kind: What is created.
    """

    def __init__(self, connection: Connection, kind: Kind[T]) -> None:
        self._connection = connection
        self.kind = kind
        self._repeated: dict[str, str] = {}

    def expect(self, namespace: str, job: T) -> None:
        """From now on, look for others than this job."""
        self._repeated[f"{namespace}/{job.id}"] = self.kind.labels_of(job)[SUBMIT_LABEL]

    def cancel(self, namespace: str, names: Iterable[str]) -> None:
        """End second jobs that have shown up; a failure is retried at the next look."""
        for name in names:
            submit_id = self._repeated.get(f"{namespace}/{name}")
            if submit_id is None:
                continue
            wanted = {SUBMIT_LABEL: submit_id}
            listed = self._connection.attempt(lambda api, wanted=wanted: self.kind.find(api, wanted, namespace))
            for job in [] if listed.failure else listed.get():
                if job.id != name and not self.kind.is_over(job):
                    self._cancel(namespace, name, job.id)

    def _cancel(self, namespace: str, kept: str, name: str) -> None:
        outcome = self._connection.attempt(lambda api: self.kind.end(api, name, namespace))
        if outcome.failure is None:
            told = (
                f"{self.kind.noun} {namespace}/{name}, of the same submission as {namespace}/{kept}, has shown up late"
            )
            warnings.warn(f"{told}, and was {self.kind.ended}", RuntimeWarning, stacklevel=2)
