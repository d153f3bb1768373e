"""The runs that have certain labels, with their status, by one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hfjobs_trainer.running.backends.base import JobRecord, JobStatus
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_duplicates import JOBS
from hfjobs_trainer.running.backends.hub_failures import Asked
from hfjobs_trainer.running.backends.hub_nodes import GROUP_LABEL, NODES_LABEL, fold_statuses, group_of, record_of
from hfjobs_trainer.running.backends.hub_submission import status_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo


def find_runs(
    connection: Connection, labels: Mapping[str, str], namespace: str, *, patiently: bool
) -> list[tuple[JobRecord, JobStatus]]:
    """The runs with all of these labels, newest first, each with its status; those of several nodes are one.

    Args:
        connection: The Hub.
        labels: Labels of their jobs; all nodes of a run have them.
        namespace: Whose jobs they are.
        patiently: Whether the Hub is asked again if it does not answer within ``Patience.search``.

    Raises:
        BackendError: The Hub refuses it, or does not answer.
    """

    def find(api: HfApi) -> list[JobInfo]:
        return JOBS.find(api, dict(labels), namespace)

    outcome = connection.ask(find) if patiently else connection.glance(find, connection.patience.search)
    if outcome.failure is not None:
        raise outcome.failure.explain(Asked("list jobs", "job.read", namespace))
    runs: dict[str, list[JobInfo]] = {}
    for job in sorted(outcome.get(), key=lambda job: (str(job.created_at), job.id), reverse=True):
        runs.setdefault((job.labels or {}).get(GROUP_LABEL) or job.id, []).append(job)
    return [_summary(namespace, jobs) for jobs in runs.values()]


def _summary(namespace: str, jobs: Sequence[JobInfo]) -> tuple[JobRecord, JobStatus]:
    group, known = group_of(jobs, namespace), {job.id: job for job in jobs}
    if not group.members:
        return record_of(namespace, jobs[0]), status_of(jobs[0])
    size = (jobs[0].labels or {}).get(NODES_LABEL, "")
    group = replace(group, size=int(size) if size.isdecimal() else len(group.members))
    statuses = {rank: status_of(known[name]) for rank, name in group.members.items()}
    first = known[next(iter(group.members.values()))]
    return record_of(namespace, first, group), fold_statuses(statuses, group.size)
