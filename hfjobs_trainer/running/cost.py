"""What a job costs."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from hfjobs_trainer.running.backends.base import Backend, JobRecord, JobStatus


def usd_so_far(backend: Backend, record: JobRecord, status: JobStatus) -> float | None:
    """US dollars of a job so far, for all nodes; ``None`` if the price is unknown.

    Each started minute of a running node counts as a whole one (huggingface/hub-docs: docs/hub/jobs-pricing.md says
    that jobs are billed by the minute while they start or run).
    """
    price = usd_per_hour(backend, record)
    return None if price is None else price * sum(map(_minutes, status.members or (status,))) / 60


def usd_per_hour(backend: Backend, record: JobRecord) -> float | None:
    """Price of one of a job's machines, US dollars per hour; ``None`` if unknown."""
    from hfjobs_trainer.planning.hardware.machine import PROXY_USD_PER_HOUR

    price = backend.usd_per_hour(record.flavor)
    return None if price is None else price + (PROXY_USD_PER_HOUR if record.exposes else 0.0)


def _minutes(status: JobStatus) -> int:
    if status.started_at is None:
        return 0
    seconds = ((status.finished_at or datetime.now(UTC)) - status.started_at).total_seconds()
    return math.ceil(max(0.0, seconds) / 60)
