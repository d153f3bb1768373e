"""When a run is resumed by itself, and for how long a resumed one may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from hfjobs_trainer.running.backends.base import JobStatus
from hfjobs_trainer.running.ending import Ending, may_pass
from hfjobs_trainer.specs.durations import parse_duration

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan

PADDING = 0.25
"""Share that is added to the timeout of a resumed job: what a spec's ``timeout_padding`` is by default."""


@dataclass(frozen=True, slots=True)
class Resuming:
    """When a run is resumed by itself.

    Attributes:
        most: How often at most.
        max_usd: US dollars that all of its jobs together may cost; ``None`` for no limit.
        seconds: How long a job may take in all its attempts, seconds; ``None`` for no limit.
    """

    most: int
    max_usd: float | None = None
    seconds: int | None = None

    def refusal(
        self, stated: JobStatus, ending: Ending, *, done: int, spent: float | None, usd_per_hour: float | None
    ) -> str:
        """Why a resumable run is not resumed by itself; empty if it is.

        Args:
            stated: Its status, as the backend states it.
            ending: What its events say.
            done: How often it was resumed before.
            spent: US dollars so far; ``None`` if unknown.
            usd_per_hour: Price of its machines; ``None`` if unknown.
        """
        if not may_pass(stated, ending):
            return "what ended it would end it again"
        if done >= self.most:
            return f"it was resumed {done} of {self.most} times"
        if self.max_usd is None:
            return ""
        if spent is None or usd_per_hour is None or (self.seconds is None and usd_per_hour):
            return f"whether it stays within max_usd={self.max_usd:g} is not known"
        following = usd_per_hour * math.ceil((self.seconds or 0) / 60) / 60
        if spent + following > self.max_usd:
            return f"${spent:.2f} so far and ${following:.2f} at most for the next are above max_usd={self.max_usd:g}"
        return ""


def resuming_of(plan: Plan, most: int) -> Resuming | None:
    """When the run of a plan is resumed by itself; ``None`` for never.

    Raises:
        ValueError: ``most`` is negative, or the plan is one of a scheduled job.
    """
    if most < 0:
        raise ValueError(f"max_resumes={most}: it is how often the run may be resumed by itself, 0 or more")
    if most and plan.request.schedule is not None:
        raise ValueError("max_resumes is for one run that is waited for: leave it out with a schedule")
    request = plan.request
    seconds = None if request.timeout_seconds is None else request.timeout_seconds * request.attempts
    return Resuming(most, plan.spec.hardware.max_usd, seconds) if most else None


def padded(timeout: int | float | str | timedelta) -> int:
    """The timeout of a resumed job in seconds: what the user gives, and the padding, rounded up.

    Raises:
        ValueError: It is no duration.
    """
    return math.ceil(parse_duration(timeout) * (1 + PADDING))
