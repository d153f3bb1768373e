"""What the plan of a run said, carried by its job, so that another process knows it too."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan

PLAN = "HFT_PLAN"
"""Environment variable of a job that holds it, as JSON."""
TIMEOUT = "HFT_TIMEOUT"
"""Environment variable of a job that holds its timeout, seconds."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What the plan said; what is unknown is ``None``.

    Attributes:
        name: Name of the run.
        low: Planned seconds of the run, the lower bound.
        high: The upper bound.
        timeout: The timeout of an attempt, seconds.
        attempts: Most attempts.
        max_usd: US dollars that the run may cost.
        model: Repository to which the model is pushed.
        tracker: Name of the tracker.
        project: Its project.
        space: Space of its dashboard.
    """

    name: str | None = None
    low: float | None = None
    high: float | None = None
    timeout: float | None = None
    attempts: int = 1
    max_usd: float | None = None
    model: str | None = None
    tracker: str | None = None
    project: str | None = None
    space: str | None = None


def planned_env(plan: Plan) -> dict[str, str]:
    """What a job of this plan carries; nothing that its script does not hold too."""
    chosen = {decision.path: decision.value for decision in plan.decisions}
    spec, request = plan.spec, plan.request
    duration = None if plan.estimate is None else plan.estimate.duration
    output = None if plan.run is None else plan.run.output
    planned = Planned(
        name=request.name,
        low=None if duration is None else round(duration.seconds.low),
        high=None if duration is None else round(duration.seconds.high),
        timeout=request.timeout_seconds,
        attempts=request.attempts,
        max_usd=spec.hardware.max_usd,
        model=(output.hub_model_id or chosen.get("output.hub_model_id")) if output and output.pushes else None,
        tracker=spec.tracking.report_to,
        project=spec.tracking.project or chosen.get("tracking.project"),
        space=spec.tracking.space_id or chosen.get("tracking.space_id"),
    )
    known = {name: value for name, value in asdict(planned).items() if value is not None}
    return {PLAN: json.dumps(known)}


def read_planned(env: Mapping[str, Any]) -> Planned:
    """What a job with this environment carries; whatever is no plan counts as nothing."""
    try:
        found = json.loads(env.get(PLAN) or "{}")
        timeout = float(env.get(TIMEOUT) or 0)  # a resumed job may have another one than was planned
    except (ValueError, TypeError, RecursionError):
        return Planned()
    given = cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def text(name: str) -> str | None:
        value = given.get(name)
        return value if isinstance(value, str) else None

    def figure(name: str) -> float | None:
        value = given.get(name)
        # neither NaN nor infinity passes
        return float(value) if isinstance(value, (int, float)) and 0 <= value <= sys.maxsize else None

    return Planned(
        name=text("name"),
        low=figure("low"),
        high=figure("high"),
        timeout=timeout or figure("timeout"),
        attempts=int(figure("attempts") or 1),
        max_usd=figure("max_usd"),
        model=text("model"),
        tracker=text("tracker"),
        project=text("project"),
        space=text("space"),
    )
