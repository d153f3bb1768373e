"""The jobs of a run before one of them, which it resumes."""

from __future__ import annotations

import contextlib

from hfjobs_trainer.errors import JobNotFound
from hfjobs_trainer.planning.labels import RESUMES_LABEL
from hfjobs_trainer.running.backends.base import Backend, JobRecord


def jobs_before(record: JobRecord, backend: Backend) -> list[JobRecord]:
    """Their records, oldest first, as far as they can still be found.

    Raises:
        BackendError: The backend does not answer.
    """
    found: list[JobRecord] = []
    known = {record.id}
    place, _, _ = record.id.rpartition("/")
    with contextlib.suppress(JobNotFound):
        while name := record.labels.get(RESUMES_LABEL):
            record = backend.inspect(f"{place}/{name}")
            if record.id in known:
                break  # labels that were tampered with
            known.add(record.id)
            found.insert(0, record)
    return found
