"""Why a fact is not known: the Hub was not asked for it, did not answer, refused, or has no such thing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.facts.gap import SPACE, TARGET, TOKEN, Gap, GapKind
from hfjobs_trainer.problems import Unchecked
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.inputs import inputs
from hfjobs_trainer.specs.locations import is_local_path
from hfjobs_trainer.specs.unparsed import Unparsed

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan

_SUBJECTS = {
    "secrets": TOKEN,
    "namespace": TOKEN,
    "output.hub_model_id": TARGET,
    "tracking.space_id": SPACE,
}
_ORDER: tuple[GapKind, ...] = ("unanswered", "refused", "absent")


def lacks(code: str, what: str, about: Iterable[str], spec: JobSpec, facts: Facts) -> Unchecked:
    """The rule that lacks a fact.

    Args:
        code: The rule.
        what: What the fact is called.
        about: Paths of the fields that it is a fact about.
        spec: The spec.
        facts: All that is known.
    """
    subjects = list(dict.fromkeys(name for path in about for name in _subjects(path, spec, facts)))
    gaps = [gap for gap in facts.gaps if gap.about in subjects]
    if gaps:
        worst = min(gaps, key=lambda gap: _ORDER.index(gap.kind)).kind
        return Unchecked(code, what, tell(gap for gap in gaps if gap.kind == worst), worst)
    if not subjects:
        return Unchecked(code, what)
    if facts.unasked:
        return Unchecked(code, what, f"the Hub was not asked: {facts.unasked}", "unasked")
    if not facts.is_gathered:
        return Unchecked(code, what, "the Hub was not asked: facts= was given, which does not say it", "unasked")
    return Unchecked(code, what)


def tell(gaps: Iterable[Gap]) -> str:
    """Gaps in words, each reason once."""
    return "; ".join(dict.fromkeys(gap.told for gap in gaps))


def ask_again(plan: Plan) -> str:
    """What to type to have the Hub asked for what a plan lacks; what it has answered is known for some minutes."""
    known = {"hub": "hft.plan(spec)", "local": 'hft.plan(spec, backend="local")'}
    again = known.get(plan.backend, "hft.Client(backend=...).plan(spec)")
    return f"{again} without that variable" if plan.unasked.startswith("HF_") else again


def lacks_answer(facts: Facts, about: str) -> bool:
    """Whether the Hub was asked for it and did not say."""
    return any(gap.about == about for gap in facts.gaps)


def _subjects(path: str, spec: JobSpec, facts: Facts) -> list[str]:
    """What gaps call what a field names, as far as it is on the Hub."""
    if path in _SUBJECTS:
        return [_SUBJECTS[path]]
    if not isinstance(spec, TrainSpec):
        return []
    try:
        found = inputs(spec, facts)
    except Unparsed:  # a field that names one is wrong
        return []
    named = [item.id for item in found if item.path == path or item.path.startswith(f"{path}.")]
    return [id for id in named if not is_local_path(id)]
