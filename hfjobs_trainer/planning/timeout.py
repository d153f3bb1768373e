"""The timeout of a job: the time that it is given, padded, and cut to what it may cost."""

from __future__ import annotations

import math

from hfjobs_trainer.errors import BudgetExceeded
from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.plan import Decision, Plan
from hfjobs_trainer.specs.base import JobSpec
from hfjobs_trainer.specs.durations import format_duration

BUDGET = "COST001"
"""The rule that compares the expected cost with ``max_usd``."""

LEAST_SECONDS = 900
"""Shortest timeout that is derived from an estimate, seconds: installing and downloading alone take minutes."""


def padded_timeout(spec: JobSpec) -> int | None:
    """The user's timeout and its padding, seconds, rounded up; ``None`` if the user gave none."""
    return None if spec.timeout is None else math.ceil(spec.timeout * (1 + spec.timeout_padding))


def decide_timeout(
    spec: JobSpec, duration: DurationEstimate | None, usd_per_hour: float | None
) -> tuple[int | None, tuple[Decision, ...]]:
    """The job's timeout in seconds, and the decision behind it; ``None`` if it cannot be derived.

    The user's ``timeout`` and its padding, rounded up; without one, the upper end of the estimate with the same
    padding, since a job that ends early is billed for what it took, and one that is ended early has lost its work.
    ``max_hours`` and ``max_usd`` limit it, padding included.

    Args:
        spec: The spec.
        duration: How long the run is expected to take; ``None`` if unknown.
        usd_per_hour: Price of all machines, US dollars per hour; ``None`` if unknown.
    """
    padding = f"{spec.timeout_padding:.0%} of padding"
    decisions: list[Decision] = []
    if (given := padded_timeout(spec)) is not None:
        seconds = given
        if spec.timeout_padding:
            decisions.append(Decision("timeout", f"{seconds} s", f"your {spec.timeout} s plus {padding}"))
    elif duration is not None:
        seconds = max(LEAST_SECONDS, math.ceil(duration.seconds.high * (1 + spec.timeout_padding) / 60) * 60)
        longest = format_duration(math.ceil(duration.seconds.high))
        decisions.append(Decision("timeout", f"{seconds} s", f"the upper estimate of {longest} plus {padding}"))
    else:
        return None, ()
    for _, cap, why in caps(spec, usd_per_hour):
        if cap < seconds:
            seconds = cap
            decisions = [Decision("timeout", f"{cap} s", why)]
    return seconds, tuple(decisions)


def binding_limit(spec: JobSpec, seconds: int) -> str:
    """The field that sets the timeout to ``seconds``, as a path: the timeout itself or the cap that cut it."""
    given, hours = padded_timeout(spec), [cap for name, cap, _ in caps(spec, None) if name == "max_hours"]
    if given is not None and given <= seconds:
        return "timeout"
    return "hardware.max_hours" if hours and hours[0] <= seconds else "hardware.max_usd"


def over_budget(plan: Plan, subject: str) -> BudgetExceeded | None:
    """The exception for a plan with a problem of the rule ``BUDGET``; ``None`` if it has none."""
    cap, estimate = plan.spec.hardware.max_usd, plan.estimate
    if estimate is None or estimate.usd is None or cap is None or all(found.code != BUDGET for found in plan.problems):
        return None
    return BudgetExceeded(estimate.usd.expected * plan.request.attempts, cap, plan.problems, subject)


def caps(spec: JobSpec, usd_per_hour: float | None) -> list[tuple[str, int, str]]:
    """The caps that limit the timeout: field, seconds, and the reason as text. They hold for all attempts together.

    Args:
        spec: The spec.
        usd_per_hour: Price of all machines, US dollars per hour; if unknown (``None``), ``max_usd`` does not limit it.
    """
    hardware, found = spec.hardware, list[tuple[str, int, str]]()
    several = f", {hardware.attempts} attempts" if hardware.attempts > 1 else ""
    if hardware.max_hours is not None:
        seconds = int(hardware.max_hours * 3600 / hardware.attempts)
        found.append(("max_hours", seconds, f"max_hours={hardware.max_hours:g}{several}"))
    if hardware.max_usd is not None and usd_per_hour:
        # billed by the started minute; the rounding undoes what binary fractions lose
        minutes = int(round(hardware.max_usd / usd_per_hour * 60 / hardware.attempts, 6))
        why = f"max_usd={hardware.max_usd:g} at ${usd_per_hour:.2f}/h{several}, billed by the minute"
        found.append(("max_usd", minutes * 60, why))
    return found
