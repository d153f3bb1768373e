"""Why a plan cannot be submitted."""

from __future__ import annotations

from hfjobs_trainer.errors import HFTError, HubUnavailable, NotAsked, SpecError
from hfjobs_trainer.facts import PRICES
from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.planning.timeout import over_budget


def refusal(plan: Plan, traits: BackendTraits) -> HFTError | None:
    """What keeps the plan from being submitted, as the error to raise; ``None`` if nothing does.

    What must be known before money is spent and is not was not asked for, was not answered, or is the user's to decide.

    Args:
        plan: The plan.
        traits: Of the backend that would run it.
    """
    if traits.uses_account and plan.unasked:
        unknown = ["whose job it is"] if plan.request.namespace is None else []
        missing = [*unknown, *_undecided(plan, traits)]
        again = "unset it, and plan again" if plan.unasked.startswith("HF_") else "plan again without it"
        told = f"; it does not say {', '.join(missing)}" if missing else ""
        return NotAsked(f"nothing was submitted: the plan was made offline ({plan.unasked}: {again}){told}")
    # the prices of the snapshot are shown, and do
    needed = [item for item in plan.unanswered if not item.startswith(PRICES)]
    if traits.uses_account and needed:
        about = ", ".join(needed)
        later = "Submit the spec again once it does; see https://status.huggingface.co"
        return HubUnavailable(f"nothing was submitted: the Hub did not answer for {about}. {later}")
    if any(problem.severity == "error" for problem in plan.problems):
        subject = f"{type(plan.spec).METHOD.label} spec"
        return over_budget(plan, subject) or SpecError(plan.problems, subject)
    if missing := _undecided(plan, traits):
        given = f"the facts do not say {' and '.join(missing)}"
        return NotAsked(f"nothing was submitted: {given}. Plan again online, without `facts=`")
    return None


def _undecided(plan: Plan, traits: BackendTraits) -> list[str]:
    """What of the machine is not known where one is rented."""
    wanted = {"which flavor it needs": plan.request.flavor, "how long it takes": plan.timeout_seconds}
    return [what for what, value in wanted.items() if value is None] if traits.rents else []
