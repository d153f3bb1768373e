"""A second job of one submission: how it can arise, and how it is ended."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hfjobs_trainer.running.backends.base import TERMINAL
from hfjobs_trainer.running.backends.hub_connection import Connection

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

SUBMIT_LABEL = "submit-id"
"""Label by which a submission is found again: fresh for each, and on every job of that submission."""


class Duplicates:
    """Second jobs that may yet show up, of creations that this backend had to repeat.

    A creation without an answer is repeated once no job of it is listed within ``Patience.search``. The lag of
    the Hub's list is undocumented, so both may run: every look at the run looks for the second one too.

    Args:
        connection: The Hub.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repeated: dict[str, str] = {}

    def expect(self, namespace: str, job: JobInfo) -> None:
        """From now on, look for others than this job."""
        self._repeated[f"{namespace}/{job.id}"] = (job.labels or {})[SUBMIT_LABEL]

    def cancel(self, namespace: str, names: Iterable[str]) -> None:
        """Cancel second jobs that have shown up; a failure is retried at the next look."""
        for name in names:
            submit_id = self._repeated.get(f"{namespace}/{name}")
            if submit_id is None:
                continue
            wanted = {SUBMIT_LABEL: submit_id}
            listed = self._connection.attempt(
                lambda api, wanted=wanted: [*api.list_jobs(labels=wanted, namespace=namespace)]
            )
            for job in [] if listed.failure else listed.get():
                if job.id != name and job.status.stage not in TERMINAL:
                    self._cancel(namespace, name, job.id)

    def _cancel(self, namespace: str, kept: str, name: str) -> None:
        outcome = self._connection.attempt(lambda api: api.cancel_job(job_id=name, namespace=namespace))
        if outcome.failure is None:
            told = f"job {namespace}/{name}, of the same submission as {namespace}/{kept}, has shown up late"
            warnings.warn(f"{told}, and was canceled", RuntimeWarning, stacklevel=2)
