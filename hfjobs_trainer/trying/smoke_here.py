"""A smoke test on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfjobs_trainer.trying.run import Limits, try_plan
from hfjobs_trainer.trying.smoke import UNNEEDED, SmokeTest, conclude, processes_of, settings_of

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan


def smoke_test_here(
    plan: Plan,
    *,
    facts: Facts | None = None,
    seconds: float,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool = False,
) -> SmokeTest:
    """Run the plan's script on tiny twins of its models, on this machine's processor.

    Args:
        plan: The plan of the run.
        facts: Facts about the models and datasets: the token is passed on only if one is private or gated.
        seconds: How long it may take.
        token: Hub token; default: the one of this machine.
        endpoint: URL of the Hub; default: ``HF_ENDPOINT``, then the public Hub.
        offline: Do not contact the Hub.

    Raises:
        HFTError: There is no interpreter for it, or this is Windows.
    """
    processes = processes_of(plan)
    tried = try_plan(
        plan,
        "smoke",
        settings_of(plan, asks=False),
        facts=facts,
        limits=Limits(seconds=seconds),
        processes=processes,
        without=UNNEEDED,
        passes_secrets=True,
        token=token,
        endpoint=endpoint,
        offline=offline,
    )
    return conclude(
        plan,
        next((event for event in tried.events if event.get("event") == "hft.smoke"), None),
        log=tried.log,
        why=tried.stopped or f"the script ended with exit status {tried.exit_code} before it came to a result",
        where="this machine",
        seconds=tried.seconds,
        processes=processes,
        stopped=bool(tried.stopped),
    )
