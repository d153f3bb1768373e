"""Identical runs: the one that is there already, in place of a second one that costs as much again."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hfjobs_trainer.contents import split_pin
from hfjobs_trainer.errors import AuthError, BackendError, HubUnavailable, QuotaError
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.identity import inputs_of
from hfjobs_trainer.running.backends.base import (
    INPUTS_LABEL,
    RESUMES_LABEL,
    SPEC_LABEL,
    Backend,
    Finds,
    JobRecord,
    JobStatus,
)
from hfjobs_trainer.running.backends.registry import traits_at
from hfjobs_trainer.running.time_limit import within
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import inputs
from hfjobs_trainer.told import tell

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan


CANCEL_SECONDS = 120.0
"""Longest time for the cancellation of the later one of two identical runs."""


def with_inputs(plan: Plan, backend: Backend) -> Plan:
    """The plan with the label that, beside that of the spec, identical runs have in common."""
    local = None if traits_at(backend).ships_data else [*_local_files(plan)]
    labels = {**plan.request.labels, INPUTS_LABEL: inputs_of(plan, local)}
    return replace(plan, request=replace(plan.request, labels=labels))


def _local_files(plan: Plan) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of change of the local files that a run reads where they are: nobody hashes them."""
    if not isinstance(plan.spec, TrainSpec):
        return
    for item in inputs(plan.spec, Facts()):
        if not item.is_local:
            continue
        place = Path(split_pin(item.id)[0]).expanduser().absolute()
        for path in [place, *(sorted(place.rglob("*")) if place.is_dir() else ())]:
            with contextlib.suppress(OSError):
                stat = path.stat()
                yield str(path), stat.st_size, stat.st_mtime_ns


def find_identical(plan: Plan, backend: Backend, *, reuse: bool) -> JobRecord | None:
    """The run to use in place of a new one, with ``reuse``; without, warn of one that goes on.

    Args:
        plan: The plan, with its labels.
        backend: Where it is to run.
        reuse: Whether an identical run is to be used.

    Raises:
        BackendError: With ``reuse``: whether there is one is not known, so nothing is submitted.
    """
    try:
        found = _select(_runs_like(plan, backend, patiently=reuse))
    except BackendError as error:
        if not reuse:
            return None
        kind = type(error) if isinstance(error, AuthError | QuotaError) else HubUnavailable
        told = "nothing was submitted: whether an identical job is there already, for reuse=True, is not known"
        raise kind(f"{told}: {error}", error.cause) from error.__cause__
    if found is None:
        return None
    record, status = found
    if reuse:
        tell(f"nothing new was submitted: job {record.id} is identical and {status.stage} (reuse=True)")
        return record
    if not status.is_terminal:
        told = (
            f"an identical job, {record.id}, is {status.stage}; this one is submitted beside it and costs as much again"
        )
        warnings.warn(f"{told}. reuse=True returns that one instead", RuntimeWarning, stacklevel=3)
    return None


def keep_earlier(plan: Plan, backend: Backend, record: JobRecord) -> JobRecord:
    """Of two identical runs that were submitted at the same moment, the earlier one; the other is canceled.

    Whoever submits with ``reuse`` looks once more and judges alike, so that one remains. Where the second look finds
    nothing, since the Hub did not list the other in time or did not answer, both remain.

    Args:
        plan: The plan, with its labels.
        backend: Where it runs.
        record: The run that was just submitted, of which nobody else knows.
    """
    with contextlib.suppress(BackendError):
        others = [one for one in _runs_like(plan, backend, patiently=False) if _age(one[0]) < _age(record)]
        if (found := _select(others)) is not None and found[0].id != record.id:
            earlier = found[0]
            try:
                with within(CANCEL_SECONDS):
                    backend.cancel(record.id)
            except BackendError as error:
                stop = f'hft.Job.from_id("{record.id}").cancel()'
                told = f"job {earlier.id} is identical and was submitted at the same moment, and job {record.id} may be"
                warnings.warn(f"{told} running too: {stop} stops it. {error}", RuntimeWarning, stacklevel=3)
            else:
                tell(f"job {earlier.id} is identical and was submitted just before; job {record.id} was canceled")
            return earlier
    return record


def list_runs(
    backend: Backend, labels: Mapping[str, str], namespace: str | None, *, patiently: bool
) -> list[tuple[JobRecord, JobStatus]]:
    """The runs with all of these labels, each with its status; those whose status is not known are left out."""
    if isinstance(backend, Finds):
        return backend.find(labels, namespace, patiently=patiently)
    found: list[tuple[JobRecord, JobStatus]] = []
    for record in backend.list(dict(labels)):
        if labels.items() <= record.labels.items():
            with contextlib.suppress(BackendError):
                found.append((record, backend.status(record.id)))
    return found


def _runs_like(plan: Plan, backend: Backend, *, patiently: bool) -> list[tuple[JobRecord, JobStatus]]:
    labels = plan.request.labels
    wanted = {name: labels[name] for name in (SPEC_LABEL, INPUTS_LABEL) if name in labels}
    if len(wanted) < 2:  # a request that was not planned
        return []
    return list_runs(backend, wanted, plan.request.namespace, patiently=patiently)


def _select(runs: list[tuple[JobRecord, JobStatus]]) -> tuple[JobRecord, JobStatus] | None:
    """The oldest run that goes on, else the newest that ended well; of one that was resumed, its newest job counts."""
    resumed = {record.labels.get(RESUMES_LABEL) for record, _ in runs}
    left = [one for one in sorted(runs, key=lambda one: _age(one[0])) if _name(one[0]) not in resumed]
    live = [one for one in left if not one[1].is_terminal and not any(map(_has_failed, one[1].members))]
    done = [one for one in left if one[1].succeeded]
    return (live[:1] or done[-1:] or [None])[0]


def _has_failed(node: JobStatus) -> bool:
    return node.is_terminal and not node.succeeded


def _name(record: JobRecord) -> str:
    return record.id.rpartition("/")[2]


def _age(record: JobRecord) -> tuple[datetime, str]:
    return record.created_at or datetime.min.replace(tzinfo=UTC), record.id
