"""What is known of a job while it is submitted, for a user who interrupts that."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hfjobs_trainer.errors import BackendError, SubmitInterrupted
from hfjobs_trainer.planning.labels import RUN_ID, RUN_LABEL
from hfjobs_trainer.running.backends.base import Backend, JobRecord
from hfjobs_trainer.running.backends.registry import traits_at
from hfjobs_trainer.running.reuse import list_runs
from hfjobs_trainer.told import NOTHING, tell_created

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan


class Submitting:
    """A submission under way; an interrupt within this context ends in ``SubmitInterrupted``.

    Attributes:
        record: The job, once the backend has accepted it.
    """

    def __init__(self) -> None:
        self.record: JobRecord | None = None
        self._sent: tuple[Plan, Backend, datetime] | None = None

    def begin(self, plan: Plan, backend: Backend) -> None:
        """From now on, the backend may create the job of this plan."""
        self._sent = plan, backend, datetime.now(UTC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            raise self._interrupted(error) from None

    def _interrupted(self, error: KeyboardInterrupt) -> SubmitInterrupted:
        price = None if self._sent is None else _usd_per_hour(self._sent[0])
        if isinstance(error, SubmitInterrupted):  # the backend knows more
            return SubmitInterrupted(error.told, error.job_ids, price)
        if self._sent is not None and self.record is None:
            with contextlib.suppress(KeyboardInterrupt, BackendError):
                self.record = self._find(*self._sent)
        if self.record is not None:
            return SubmitInterrupted(tell_created(self.record.id), self.record.members or (self.record.id,), price)
        if self._sent is None or traits_at(self._sent[1]).is_here:
            return SubmitInterrupted(NOTHING)
        return SubmitInterrupted("interrupted: whether a job was created is not known: look with hft.jobs()")

    def _find(self, plan: Plan, backend: Backend, began: datetime) -> JobRecord | None:
        """The job, if the backend lists it by now."""
        labels, run = plan.request.labels, plan.request.env.get(RUN_ID)
        for record, _ in list_runs(backend, labels, plan.request.namespace, patiently=False):
            if record.labels.get(RUN_LABEL) == run or (record.created_at is not None and record.created_at >= began):
                return record
        return None


def _usd_per_hour(plan: Plan) -> float | None:
    from hfjobs_trainer.planning.hardware.machine import hourly_usd

    return None if plan.flavor is None else hourly_usd(plan.flavor, plan.spec.hardware)
