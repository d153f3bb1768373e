"""A run rehearsed before it is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from hfjobs_trainer.client.planner import Planner
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts.backends import BackendName

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.trying.smoke import SmokeTest

# How long a smoke test may take on this machine, seconds.
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
        seconds: float | None = None,
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
        seconds: float | None = None,
        dry_run: Literal[True],
    ) -> Plan: ...
    def smoke_test(
        self,
        what: Plan | TrainSpec | Mapping[str, Any],
        *,
        backend: BackendName = "local",
        facts: Facts | None = None,
        offline: bool = False,
        seconds: float | None = None,
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
                whether models, datasets and the target repository can be reached. It is canceled at its
                limit, or when you interrupt.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub; model and dataset must be on this machine.
            seconds: How long it may take, beyond which it is stopped; default: 300 on this machine, 900 as a job.
            dry_run: Return the plan of what would run, with its limits and, for the Hub, its cost; run nothing.

        Returns:
            ``.ok``, ``.problems``, ``.stages`` with seconds, ``.not_covered``. What the rules find comes first: a
            script that they refuse is not run.

        Raises:
            HFTError: There is no interpreter for the script.
            BackendError: With ``backend="hub"``: the job could not be created, or its result could not be read.
            SpecError: ``what`` is an ``hft.Script``, of which nothing is known.
        """
        from hfjobs_trainer.facts.backends import traits_of
        from hfjobs_trainer.planning.plan import Plan
        from hfjobs_trainer.planning.refusal import refusal
        from hfjobs_trainer.trying.smoke import SmokeTest
        from hfjobs_trainer.trying.smoke_job import JOB_SECONDS, plan_job, smoke_test_as_job

        given = cast("TrainSpec", what.spec) if isinstance(what, Plan) else what
        spec = self._trained(given, "what a script trains is unknown, so it has no smoke test")
        offline = offline or (isinstance(what, Plan) and bool(what.unasked))
        at_hub = traits_of(backend).rents
        # the plan of a run on this machine has no image and no secrets to try
        other = backend if at_hub and not self._traits(None).rents else None
        known = facts or self._gather(self._named(spec), offline, self._traits(other))
        try:
            planned = what if isinstance(what, Plan) and other is None else None
            plan = planned or self.plan(spec, facts=known, offline=offline, backend=other)
        except SpecError as error:
            return SmokeTest(problems=error.problems)
        if not at_hub:
            return plan if dry_run else self._try_here(plan, known, seconds=seconds or SECONDS, offline=offline)
        job = plan_job(plan, known, seconds=int(seconds or JOB_SECONDS))
        if dry_run:
            return job
        if any(problem.severity == "error" for problem in plan.problems):
            return SmokeTest(problems=plan.problems)
        if (refused := refusal(plan, self._traits(other))) is not None:
            raise refused
        return smoke_test_as_job(plan, job, self._open(other or self.backend))

    def _try_here(self, plan: Plan, facts: Facts, *, seconds: float, offline: bool) -> SmokeTest:
        from hfjobs_trainer.trying.smoke import SmokeTest, checked
        from hfjobs_trainer.trying.smoke_here import smoke_test_here

        found = checked(plan)
        if any(problem.severity == "error" for problem in found):
            return SmokeTest(problems=found)
        token, endpoint, _ = self._account()
        return smoke_test_here(plan, facts=facts, seconds=seconds, token=token, endpoint=endpoint, offline=offline)
