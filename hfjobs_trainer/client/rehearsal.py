"""A run rehearsed before it is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from hfjobs_trainer.client.planner import Planner
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts.backends import BackendName

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.trying.smoke import SmokeTest

SECONDS = 300.0


@dataclass(frozen=True, repr=False)
class Rehearsal(Planner):
    """The functions of a client that really run a script, on a few rows and tiny models."""

    @overload
    def smoke_test(
        self,
        what: Plan | TrainSpec | Mapping[str, Any],
        *,
        backend: BackendName = "local",
        facts: Facts | None = None,
        offline: bool = False,
        seconds: float = SECONDS,
        dry_run: Literal[False] = False,
    ) -> SmokeTest: ...
    @overload
    def smoke_test(
        self,
        what: Plan | TrainSpec | Mapping[str, Any],
        *,
        backend: BackendName = "local",
        facts: Facts | None = None,
        offline: bool = False,
        seconds: float = SECONDS,
        dry_run: Literal[True],
    ) -> Plan: ...
    def smoke_test(
        self,
        what: Plan | TrainSpec | Mapping[str, Any],
        *,
        backend: BackendName = "local",
        facts: Facts | None = None,
        offline: bool = False,
        seconds: float = SECONDS,
        dry_run: bool = False,
    ) -> SmokeTest | Plan:
        """Run the very script of a run on tiny random twins of its models, with up to 64 real rows, on a processor.

        Two optimizer steps, an evaluation if the run has one, checkpoints, a resume from the first, the final save, the
        merge, and all of a push but the upload; reward functions are really called. On this machine, metrics go to a
        scratch folder that is removed, and no token is needed. What it cannot see is in ``.not_covered``.

        Args:
            what: A plan, a spec, or a mapping with the key ``method``.
            backend: ``"local"``: in a process on this machine, with this interpreter where it has the packages that the
                script pins, else with one that uv makes. ``"hub"``: as a ``cpu-basic`` job with the image, the secrets
                and the token of the run, which costs about a cent; it also shows whether the packages install, and
                whether models, datasets and the target repository can be reached. It is canceled after 15 minutes, or
                when you interrupt.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub; model and dataset must be on this machine.
            seconds: How long it may take on this machine, seconds; beyond that it is stopped.
            dry_run: Return the plan of what would run, with its limits and, for the Hub, its cost; run nothing.

        Returns:
            ``.ok``, ``.problems``, ``.stages`` with seconds, ``.not_covered``. What the rules find comes first: a script
            that they refuse is not run.

        Raises:
            HFTError: There is no interpreter for the script.
            BackendError: With ``backend="hub"``: the job could not be created, or its result could not be read.
            SpecError: ``what`` is an ``hft.Script``, of which nothing is known.
        """
        from hfjobs_trainer.facts.backends import traits_of
        from hfjobs_trainer.planning.plan import Plan
        from hfjobs_trainer.trying.smoke import SmokeTest, checked

        at_hub = traits_of(backend).rents
        try:
            if isinstance(what, Plan):
                spec, plan = what.spec, what
            else:
                spec = self._trained(what, "what a script trains is unknown, so it has no smoke test")
                plan = None
            place = self._traits(None)
            if at_hub and not place.rents:
                place = traits_of(backend)
            known = facts or self._gather(self._named(self._trained(spec)), offline, place)
            if plan is None or at_hub and not self._traits(plan.backend).rents:
                plan = self.plan(spec, facts=known, offline=offline, backend=place.name)
        except SpecError as error:
            if isinstance(what, Plan) or any(problem.code.startswith("SCRIPT") for problem in error.problems):
                raise
            return SmokeTest(problems=error.problems)
        if not at_hub:
            from hfjobs_trainer.trying.smoke_here import smoke_test_here

            if dry_run:
                return plan
            token, endpoint, _ = self._account()
            found = checked(plan)
            if any(problem.severity == "error" for problem in found):
                return SmokeTest(problems=found)
            return smoke_test_here(
                plan, facts=known, seconds=seconds, token=token, endpoint=endpoint, offline=offline
            )
        from hfjobs_trainer.planning.refusal import refusal
        from hfjobs_trainer.trying.smoke_job import plan_job, smoke_test_as_job

        if dry_run:
            return plan_job(plan, known)
        if any(problem.severity == "error" for problem in plan.problems):
            return SmokeTest(problems=plan.problems)
        if (error := refusal(plan, place)) is not None:
            raise error
        return smoke_test_as_job(plan, self._open(self.backend if self.backend != "local" else "hub"), known)
