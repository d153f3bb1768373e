"""Whether the untouched model is evaluated too, so that a run says what it changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.planning.run import Run

MOST = 0.03
"""Share of the run that an evaluation before it and one after it may cost together."""


def decide_first_evaluation(run: Run, duration: DurationEstimate | None) -> tuple[Decision, ...]:
    """Evaluate before training, where that costs little; nothing where the user said, or what it costs is unknown.

    The script then also evaluates after the last step, where no evaluation is due there.

    Args:
        run: The run.
        duration: How long it takes.
    """
    once = duration.one_evaluation if duration is not None else 0.0
    if duration is None or not run.evaluation.chooses_first or once <= 0:
        return ()
    share = 2 * once / duration.seconds.expected
    if share >= MOST:
        return ()
    cost = "less than 0.1%" if share < 0.001 else f"about {share:.1%}"
    why = f"what training changed is seen; with an evaluation after the last step, {cost} of the run"
    return (Decision("eval_on_start", True, why),)


def with_evaluations(arguments: Mapping[str, Any], decisions: Iterable[Decision]) -> dict[str, Any]:
    """The arguments with these, behind the others of evaluations."""
    names = [*arguments]
    place = max((index for index, name in enumerate(names, 1) if name.startswith("eval_")), default=len(names))
    made = {decision.path: decision.value for decision in decisions}
    return {name: arguments[name] for name in names[:place]} | made | {name: arguments[name] for name in names[place:]}
