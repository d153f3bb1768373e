"""Why a plan cannot be submitted."""

from __future__ import annotations

from dataclasses import fields

from hfjobs_trainer.errors import AuthError, BackendError, HFTError, HubUnavailable, NotAsked, SpecError
from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.facts.gap import PRICES, Gap, needed_answers
from hfjobs_trainer.planning.gaps import ask_again, tell
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.planning.timeout import over_budget

_MOST_SHOWN = 80
"""Characters of a value that are shown at most."""


def unanswered(plan: Plan, traits: BackendTraits) -> list[Gap]:
    """What the Hub has not answered for and must be known before money is spent; the prices of the snapshot do."""
    return _missing(plan) if traits.uses_account else []


def _missing(plan: Plan) -> list[Gap]:
    return [gap for gap in needed_answers(plan.gaps) if gap.about != PRICES]


def answered(plan: Plan, again: Plan) -> Plan:
    """The plan that was made again, once the Hub was asked for what was missing, if the run is the same.

    Args:
        plan: A plan for which the Hub had not answered everything.
        again: The plan of the same spec now; if it still lacks an answer, ``refusal`` says so.

    Raises:
        BackendError: The run is another.
    """
    before, now = (
        {field.name: getattr(each.request, field.name) for field in fields(each.request) if field.name != "schedule"}
        for each in (plan, again)
    )
    changed = [
        name if name in ("script", "files") else f"{name} ({_shown(value)}, not {_shown(before[name])})"
        for name, value in now.items()
        if value != before[name]
    ]
    if changed and not _missing(again):
        missing = ", ".join(gap.about for gap in _missing(plan))
        how = f"the Hub had not answered for {missing} when the plan was made, and now that it has, the run is another"
        look = f"Look at it with {ask_again(plan)}, then submit that plan"
        raise BackendError(f"nothing was submitted: {how}: {', '.join(changed)}. {look}")
    return again


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def refusal(plan: Plan, traits: BackendTraits) -> HFTError | None:
    """What keeps the plan from being submitted, as the error to raise; ``None`` if nothing does.

    What must be known before money is spent and is not was not asked for, was not answered, was refused, or is the
    user's to decide.

    Args:
        plan: The plan.
        traits: Of the backend that would run it.
    """
    missing = _undecided(plan, traits)
    if traits.uses_account and plan.unasked:
        unknown = ["whose job it is"] if plan.request.namespace is None else []
        told = f"; so it is not known {', '.join([*unknown, *missing])}" if unknown or missing else ""
        how = f"the Hub was not asked, since the plan was made offline ({plan.unasked}){told}"
        return NotAsked(f"nothing was submitted: {how}. {ask_again(plan)} asks it; submit the plan that it returns")
    if gaps := unanswered(plan, traits):
        later = f"{ask_again(plan)} asks again for these alone, and hft.submit(spec) asks and submits"
        status = "see https://status.huggingface.co"
        return HubUnavailable(f"nothing was submitted: {tell(gaps)}. {later}; {status}")
    if any(problem.severity == "error" for problem in plan.problems):
        subject = f"{type(plan.spec).METHOD.label} spec"
        return over_budget(plan, subject) or SpecError(plan.problems, subject)
    if not missing:
        return None
    if refused := [gap for gap in plan.gaps if gap.kind == "refused" and gap.is_needed]:
        how = f"{tell(refused)}; so it is not known {' and '.join(missing)}"
        return AuthError(f"nothing was submitted: {how}. Use a token that may read it, or set hardware and timeout")
    given = f"the Hub was not asked, since facts= was given, which does not say {' and '.join(missing)}"
    return NotAsked(f"nothing was submitted: {given}. Plan again without facts=")


def _undecided(plan: Plan, traits: BackendTraits) -> list[str]:
    """What of the machine is not known where one is rented."""
    wanted = {"which flavor it takes": plan.request.flavor, "how long it takes": plan.timeout_seconds}
    return [what for what, value in wanted.items() if value is None] if traits.rents else []
