"""The one place where the stages meet: gather, plan, submit."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts.backends import HUB, BackendName, BackendTraits, traits_of

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.estimate import Estimate, FlavorChoice, FlavorComparison
    from hfjobs_trainer.planning.hardware.table import HardwareTable
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.problems import Report
    from hfjobs_trainer.running.backends.base import Backend
    from hfjobs_trainer.running.job import Job
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.specs.script import Script

BackendLike: TypeAlias = "Backend | BackendName | None"


@dataclass(frozen=True)
class Client:
    """The functions of the package for one backend and one account; ``hft.plan`` and the rest are a default client's.

    Args:
        backend: ``"hub"`` (Hugging Face Jobs), ``"local"`` (this machine), or a ``Backend`` of your own. A
            ``HubBackend`` has its own token, namespace and endpoint, which are then used for planning too.
        token: Hub token; default: ``HF_TOKEN``, then the one that ``hf auth login`` stored. Never shown and never
            pickled: an unpickled client or job uses the default.
        namespace: User or organization that runs and pays; default: the token's owner.
        endpoint: URL of the Hub; default: ``HF_ENDPOINT``, then the public Hub.
    """

    backend: Backend | BackendName = "hub"
    token: str | None = None
    namespace: str | None = None
    endpoint: str | None = None

    def __post_init__(self) -> None:
        if self.token is not None:
            from hfjobs_trainer.running.backends.hub_connection import Secret

            object.__setattr__(self, "token", Secret(self.token))

    def __repr__(self) -> str:
        where = self.backend if isinstance(self.backend, str) else self.backend.name
        return f"Client(backend={where!r}, namespace={self.namespace!r})"

    def gather(
        self, spec: TrainSpec | Script | Mapping[str, Any], *, offline: bool = False, backend: str | None = None
    ) -> Facts:
        """Read the facts about model, dataset, hardware and account; what is unavailable is ``None``.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec.
        """
        return self._gather(_spec(spec), offline, self._traits(backend))

    def check(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> Report:
        """Report every problem of a spec, or of a mapping with the key ``method``. Never raises for a wrong spec.

        The arguments are those of ``plan``. The report also lists the rules that could not be checked.
        """
        from hfjobs_trainer.planning.assemble import draft
        from hfjobs_trainer.planning.script import check_script
        from hfjobs_trainer.problems import Report
        from hfjobs_trainer.specs.parse import parse
        from hfjobs_trainer.specs.script import Script

        traits = self._traits(backend)
        parsed, problems, subject = parse(spec, backend=traits)
        if parsed is None:
            return Report(tuple(problems), (), subject)
        parsed = self._named(parsed)
        known = facts or self._gather(parsed, offline, traits)
        if isinstance(parsed, Script):
            return Report(*check_script(parsed, known, backend=traits), subject)
        found = draft(parsed, known, backend=traits)
        return Report(found.problems, found.unchecked, subject)

    def plan(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
        simulate: bool = False,
    ) -> Plan:
        """Plan a run: what ``submit`` would send, with each decision and its reason. Nothing is submitted.

        Args:
            spec: A spec, or a mapping with the key ``method``.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub; rules that need its answers are then listed as unchecked.
            backend: ``"hub"`` or ``"local"``; default: the client's.
            simulate: Estimate memory by a simulated training step of the real model class on this machine's CPU, in a
                separate process: some seconds, no weights, no GPU. Needs ``pip install "hfjobs-trainer[local]"``.

        Raises:
            SpecError: The script itself would be wrong. Problems of a run on Jobs alone are in ``plan.problems``.
            HFTError: The libraries for ``simulate`` are not installed.
        """
        from hfjobs_trainer.planning.assemble import assemble
        from hfjobs_trainer.planning.script import assemble_script
        from hfjobs_trainer.specs.script import Script

        parsed = self._named(_spec(spec))
        traits = self._traits(backend)
        known = facts or self._gather(parsed, offline, traits)
        if isinstance(parsed, Script):
            return assemble_script(parsed, known, backend=traits)
        if simulate:
            from hfjobs_trainer.gathering.simulation import simulate_for

            known = simulate_for(parsed, known, backend=traits)
        return assemble(parsed, known, backend=traits)

    def render(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> str:
        """Render the script that would run: ``plan(spec).script``.

        Raises:
            SpecError: As for ``plan``.
        """
        return self.plan(spec, facts=facts, offline=offline, backend=backend).script

    def pick_flavor(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> FlavorChoice:
        """Choose the flavor on which the run is expected to cost least, with the reason against each other flavor.

        ``.flavor`` is ``None`` if nothing fits, or if the model's size is unknown. If the duration cannot be estimated,
        it is the flavor with the lowest price per hour on which the run fits.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec.
        """
        from hfjobs_trainer.planning.choose import choose
        from hfjobs_trainer.planning.hardware.catalogue import snapshot
        from hfjobs_trainer.planning.script import choose_for_script
        from hfjobs_trainer.planning.understand import understand
        from hfjobs_trainer.specs.script import Script

        parsed = self._named(_spec(spec))
        known = facts or self._gather(parsed, offline, HUB if backend is None else traits_of(backend))
        if isinstance(parsed, Script):
            return choose_for_script(parsed, known)
        return choose(understand(parsed, known), known.hardware or snapshot())

    def compare_flavors(
        self, spec: TrainSpec | Mapping[str, Any], *, facts: Facts | None = None, offline: bool = False
    ) -> FlavorComparison:
        """Estimate the run on every flavor: whether it fits, memory, batch size, hours and dollars.

        Args:
            spec: A spec, or a mapping with the key ``method``; the flavor that it names is ignored.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub; prices are then those of the dated snapshot.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec, or an ``hft.Script``, which has no estimate.
        """
        from hfjobs_trainer.planning.choose import compare
        from hfjobs_trainer.planning.hardware.catalogue import snapshot
        from hfjobs_trainer.planning.understand import understand

        parsed = self._trained(spec)
        known = facts or self._gather(parsed, offline, HUB)
        return compare(understand(parsed, known), known.hardware or snapshot())

    def estimate(
        self,
        spec: TrainSpec | Mapping[str, Any],
        *,
        gpu: str | None = None,
        num_gpus: int | None = None,
        facts: Facts | None = None,
        offline: bool = False,
    ) -> Estimate:
        """Estimate the memory, the time and, on Hugging Face Jobs, the dollars that a run needs.

        Args:
            spec: A spec, or a mapping with the key ``method``.
            gpu: A GPU of your own, such as ``"RTX 4090"``, ``"A100-40"`` or ``"2x H100"``; default: the flavor that the
                spec names, else the one that would be chosen.
            num_gpus: Number of these GPUs; default: the count in ``gpu``, else 1.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec, or an ``hft.Script``, which has no estimate.
            ValueError: ``gpu`` is unknown, or ``num_gpus`` contradicts the count in ``gpu``.
        """
        from hfjobs_trainer.planning.assemble import draft
        from hfjobs_trainer.planning.choose import estimate_on
        from hfjobs_trainer.planning.understand import understand

        parsed = self._trained(spec)
        known = facts or self._gather(parsed, offline, HUB)
        if gpu is None:
            return draft(parsed, known, backend=HUB).estimate
        return estimate_on(understand(parsed, known), gpu, num_gpus)

    def hardware_table(self, *, offline: bool = False) -> HardwareTable:
        """Print the table of flavors (GPU, memory, disk, price) and return it; prices are live if the Hub answers.

        Args:
            offline: Do not contact the Hub; prices are then those of the dated snapshot.
        """
        from hfjobs_trainer.gathering import gather_hardware
        from hfjobs_trainer.planning.hardware.catalogue import snapshot
        from hfjobs_trainer.planning.hardware.table import hardware_table

        token, endpoint, _ = self._account()
        live = None if offline else gather_hardware(token=token, endpoint=endpoint)
        table = hardware_table(live or snapshot())
        print(table)
        return table

    def submit(
        self,
        what: Plan | TrainSpec | Script | Mapping[str, Any],
        *,
        backend: BackendLike = None,
        dry_run: bool = False,
    ) -> Job | Plan:
        """Submit a run, exactly as planned. On Hugging Face Jobs this costs money.

        Args:
            what: A plan, a spec, or a mapping with the key ``method``.
            backend: Where to run; default: the backend of the plan, else the client's.
            dry_run: Return the plan and submit nothing.

        Raises:
            SpecError: The run would fail; ``.problems`` has all reasons.
            BudgetExceeded: The run is expected to cost more than ``max_usd``; ``.problems`` has any other reasons too.
            AuthError, QuotaError: The Hub refused the token, or the account has no credits or has reached a limit.
            HubUnavailable: The Hub did not answer, or not for a fact that must be known before money is spent.
            NotAsked: The plan was made offline, so the Hub was not asked for such a fact: plan again online.
            ValueError: There is no backend of this name.
        """
        from hfjobs_trainer.planning.plan import Plan
        from hfjobs_trainer.planning.refusal import refusal
        from hfjobs_trainer.running.backends.registry import traits_at
        from hfjobs_trainer.running.job import Job

        chosen = backend if backend is not None else self.backend
        if backend is None and isinstance(what, Plan) and what.backend != self._traits(None).name:
            chosen = what.backend
        running = self._open(chosen)
        traits = traits_at(running)
        # paths and problems differ between backends, so a plan for another one is made again
        plan = what if isinstance(what, Plan) and what.backend == traits.name else None
        if plan is None:
            plan = replace(self, backend=chosen).plan(what.spec if isinstance(what, Plan) else what)
        if dry_run:
            return plan
        if (error := refusal(plan, traits)) is not None:
            raise error
        env = {"HFT_RUN_ID": secrets.token_hex(16), **plan.request.env}
        record = running.submit(replace(plan, request=replace(plan.request, env=env)))
        return Job(record, running)

    def jobs(
        self, *, group: str | None = None, method: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Job]:
        """List the runs submitted by this package in the client's namespace (or the token owner's), newest first.

        Args:
            group: Only those of this tracking group.
            method: Only those of this training method.
            labels: Only those with these labels.
        """
        from hfjobs_trainer.planning.names import slug
        from hfjobs_trainer.running.job import Job

        wanted = {"sdk": "hfjobs-trainer", **(labels or {})}
        if group is not None:
            wanted["group"] = slug(group)
        if method is not None:
            wanted["method"] = method
        backend = self._open(self.backend)
        return [Job(record, backend) for record in backend.list(wanted)]

    def job(self, job_id: str) -> Job:
        """Find a job by its id, with this client's backend, token and endpoint.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
        """
        from hfjobs_trainer.running.job import Job

        return Job.from_id(job_id, backend=self._open(self.backend))

    def submit_fields(self, method: str, fields: Mapping[str, Any], *, backend: Any, dry_run: bool) -> Any:
        """What ``submit_<method>`` does with its keyword arguments."""
        return self.submit({"method": method, **fields}, backend=backend, dry_run=dry_run)

    def _account(self) -> tuple[str | None, str | None, str | None]:
        """Token, endpoint and namespace for submitting; ``None`` for what comes from the environment."""
        token, endpoint, namespace = self.token, self.endpoint, self.namespace
        if not isinstance(self.backend, str):
            from hfjobs_trainer.running.backends.hub import HubBackend

            if isinstance(self.backend, HubBackend):
                token, endpoint, home = self.backend.account
                namespace = namespace or home
        return token, endpoint, namespace

    def _named(self, spec: TrainSpec | Script) -> TrainSpec | Script:
        _, _, namespace = self._account()
        return spec if namespace is None or spec.namespace is not None else spec.replace(namespace=namespace)

    def _trained(self, spec: TrainSpec | Mapping[str, Any]) -> TrainSpec:
        from hfjobs_trainer.specs.base import TrainSpec

        parsed = self._named(_spec(spec))
        if not isinstance(parsed, TrainSpec):
            from hfjobs_trainer.problems import Problem

            why = "what a script needs is unknown, so there is no estimate; hft.hardware_table() lists the flavors"
            problem = Problem("SCRIPT004", "script", why)
            raise SpecError([problem], "Script spec")
        return parsed

    def _gather(self, spec: TrainSpec | Script, offline: bool, traits: BackendTraits) -> Facts:
        from hfjobs_trainer.gathering import gather

        token, endpoint, _ = self._account()
        return gather(spec, offline=offline, token=token, endpoint=endpoint, backend=traits)

    def _traits(self, backend: str | None) -> BackendTraits:
        """Traits of the backend of this name; by default, of the client's."""
        from hfjobs_trainer.running.backends.registry import traits_at

        return traits_at(self.backend if backend is None else backend)

    def _open(self, backend: Backend | str) -> Backend:
        from hfjobs_trainer.running.backends.registry import open_backend

        if not isinstance(backend, str):
            return backend
        return open_backend(backend, token=self.token, namespace=self.namespace, endpoint=self.endpoint)


def _spec(raw: TrainSpec | Script | Mapping[str, Any]) -> TrainSpec | Script:
    from hfjobs_trainer.specs.parse import parse

    spec, problems, subject = parse(raw)
    if spec is None:
        raise SpecError(problems, subject)
    return spec


default = Client()
"""The client behind the functions of the package."""

gather = default.gather
check = default.check
plan = default.plan
render = default.render
pick_flavor = default.pick_flavor
compare_flavors = default.compare_flavors
estimate = default.estimate
hardware_table = default.hardware_table
submit = default.submit
jobs = default.jobs
submit_fields = default.submit_fields
