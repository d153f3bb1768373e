"""What a job costs."""

from __future__ import annotations

import math
import time

from hfjobs_trainer.running.backends.base import Backend, JobRecord, JobStatus


def usd_so_far(backend: Backend, record: JobRecord, status: JobStatus) -> float | None:
    """US dollars of a job so far, for all nodes; ``None`` if the price is unknown.

    Each started minute of a running node counts as a whole one (huggingface/hub-docs: docs/hub/jobs-pricing.md says
    that jobs are billed by the minute while they start or run).
    """
    price = usd_per_hour(backend, record)
    return None if price is None else usd_at(price, status, time.time())


def usd_at(usd_per_hour: float, status: JobStatus, now: float) -> float:
    """US dollars of a job at a time, seconds since the epoch, for all nodes; the price is that of one machine."""
    return usd_per_hour * sum(_minutes(member, now) for member in status.members or (status,)) / 60


def usd_per_hour(backend: Backend, record: JobRecord) -> float | None:
    """Price of one of a job's machines, US dollars per hour; ``None`` if unknown."""
    from hfjobs_trainer.planning.hardware.machine import PROXY_USD_PER_HOUR

    price = backend.usd_per_hour(record.flavor)
    return None if price is None else price + (PROXY_USD_PER_HOUR if record.exposes else 0.0)


def _minutes(status: JobStatus, now: float) -> int:
    if status.started_at is None:
        return 0
    until = now if status.finished_at is None else status.finished_at.timestamp()
    return math.ceil(max(0.0, until - status.started_at.timestamp()) / 60)
