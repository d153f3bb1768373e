"""Spec and facts to plan, step by step: understand, choose the machine, decide the rest, check, render."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.facts.backends import HUB, BackendTraits, traits_of
from hfjobs_trainer.planning.arguments.decide import Decided, decide_arguments
from hfjobs_trainer.planning.arguments.evaluation import decide_first_evaluation, with_evaluations
from hfjobs_trainer.planning.arguments.precision import Precision, settle_precision
from hfjobs_trainer.planning.arguments.shapes import decide_shapes
from hfjobs_trainer.planning.arguments.vllm import vllm_request
from hfjobs_trainer.planning.canary import planned_pace
from hfjobs_trainer.planning.check import check
from hfjobs_trainer.planning.choose import choose
from hfjobs_trainer.planning.compose import compose
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.estimate import Estimate, FlavorChoice
from hfjobs_trainer.planning.fixes import planned_fixes
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.planning.hardware.machine import Machine, machine_of
from hfjobs_trainer.planning.layout import Layout, given_layout, usual_layout
from hfjobs_trainer.planning.memory.simulated import memory_on
from hfjobs_trainer.planning.memory.vllm import choose_context, server_share, share_gpu
from hfjobs_trainer.planning.memory.workload import Workload, workload_of
from hfjobs_trainer.planning.names import basename
from hfjobs_trainer.planning.plan import Decision, Plan
from hfjobs_trainer.planning.prefer import why_chosen
from hfjobs_trainer.planning.remedies import remedy, vllm_instead
from hfjobs_trainer.planning.request import request_of
from hfjobs_trainer.planning.revisions import pinned, resolve_revisions
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.planning.saving import Keeping, keep, with_checkpoints, with_saves
from hfjobs_trainer.planning.shipping import local_data, portable, readers, shipped_inputs, with_data
from hfjobs_trainer.planning.timeout import decide_timeout
from hfjobs_trainer.planning.understand import understand
from hfjobs_trainer.problems import Problem, Unchecked
from hfjobs_trainer.rendering.render import render_script
from hfjobs_trainer.specs.base import TrainSpec, digest_of


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan before its script is rendered.

    Attributes:
        run: The run that the spec and the facts describe.
        choice: How the flavor was chosen; ``None`` if no machine is rented.
        machine: The machine.
        precision: The run's precision on it.
        layout: The layout; ``None`` if no batch can be formed.
        decided: The arguments, and all decisions.
        estimate: What the run needs and costs.
        timeout_seconds: The job's timeout, seconds; ``None`` for no limit.
        kept: What protects its work.
        revisions: The commits of its models and datasets.
        with_vllm: If writing answers takes long, and vLLM could write them: what the run needs and costs with it.
        problems: All problems.
        unchecked: Rules that could not be checked, each with the fact that was missing.
    """

    run: Run
    choice: FlavorChoice | None
    machine: Machine
    precision: Precision
    layout: Layout | None
    decided: Decided
    estimate: Estimate
    timeout_seconds: int | None
    kept: Keeping
    revisions: tuple[Decision, ...] = ()
    with_vllm: Estimate | None = None
    problems: tuple[Problem, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()

    @property
    def workload(self) -> Workload:
        """What the run needs on each GPU."""
        layout = self.layout or given_layout(self.run, self.machine.num_gpus)
        return workload_of(self.run, self.precision, layout)


def draft(
    spec: TrainSpec, facts: Facts, *, backend: str | BackendTraits = HUB, trials: int = 1, seeks: bool = True
) -> Draft:
    """Plan everything but the script, and apply every rule; never raises.

    Args:
        spec: What the user wants.
        facts: Facts about model, dataset, hardware and account.
        backend: Where it will run.
        trials: Runs of the sweep to which this one belongs.
        seeks: Whether what would make the run fit, if it does not, is sought by planning it with changes.
    """
    revisions = tuple(resolve_revisions(spec, facts))
    traits, hardware = traits_of(backend), facts.hardware or snapshot()
    run = understand(pinned(spec, revisions), facts)
    choice = choose(run, hardware, trials=trials) if traits.rents else None
    machine = machine_of(run, choice.flavor if choice else None)
    precision = settle_precision(run, machine.flavor)
    planned = choice.layout if choice else None
    layout = planned or usual_layout(run, max(1, machine.num_gpus))
    decided = decide_arguments(run, machine, precision, layout, is_planned=planned is not None, backend=traits)
    # if nothing is within the caps, the plan shows the estimate that exceeds them
    expected = choice and (choice.cheapest or choice.estimate)
    duration = expected.duration if expected else None
    timeout, timed = decide_timeout(spec, duration, machine.usd_per_hour)
    kept = keep(run, layout, machine.world_size, timeout, duration.saves if duration else None, traits)
    estimate = Estimate(machine, planned, None, duration, choice.shortage if choice else None)
    before = decide_first_evaluation(run, duration)
    decided = with_saves(decided, run, kept, rents=traits.rents)
    decided = _with(decided, *before, *revisions, *timed, *decide_shapes(spec, facts))
    decided = replace(decided, arguments=with_evaluations(decided.arguments, before))
    found = Draft(run, choice, machine, precision, layout, decided, estimate, timeout, kept, revisions)
    found = _checked(_fit_memory(found), spec, facts, traits)
    if not (seeks and traits.rents):
        return found
    plan = partial(draft, facts=facts, backend=traits, trials=trials, seeks=False)
    fix, with_vllm = remedy(spec, facts, found, plan), vllm_instead(spec, facts, found, plan)
    if not fix and with_vllm is None:
        return found
    found = replace(found, estimate=replace(found.estimate, fix=fix), with_vllm=with_vllm)
    return _checked(found, spec, facts, traits)


def _checked(found: Draft, spec: TrainSpec, facts: Facts, traits: BackendTraits) -> Draft:
    context = Context(
        spec,
        facts,
        traits,
        understood=found.run,
        machine=found.machine,
        arguments=found.decided.arguments,
        needs_token=found.decided.needs_token,
        choice=found.choice,
        estimate=found.estimate,
        with_vllm=found.with_vllm,
        timeout_seconds=found.timeout_seconds,
        kept=found.kept,
    )
    problems, unchecked = check(context)
    return replace(found, problems=problems, unchecked=unchecked)


def assemble(spec: TrainSpec, facts: Facts, *, backend: str | BackendTraits = HUB, trials: int = 1) -> Plan:
    """Plan a spec in full: a pure function, with the same plan for the same spec and facts.

    Args:
        spec: What the user wants.
        facts: Facts about model, dataset, hardware and account.
        backend: Where it will run.
        trials: Runs of the sweep to which this one belongs.

    Raises:
        SpecError: The script itself would be wrong. Problems of a run on Jobs alone are in ``plan.problems``.
    """
    traits = traits_of(backend)
    found = draft(spec, facts, backend=traits, trials=trials)
    if any(problem.scope == "script" and problem.severity == "error" for problem in found.problems):
        raise SpecError(found.problems, f"{type(spec).METHOD.label} spec")
    run, decided, choice = found.run, found.decided, found.choice
    shipped = shipped_inputs(spec, facts, traits)
    sent = portable(spec, shipped)
    request = request_of(
        spec,
        subject=basename(run.model_id),
        flavor=found.machine.flavor,
        timeout_seconds=found.timeout_seconds,
        namespace=run.namespace,
        needs_token=bool(decided.needs_token),
        backend=traits,
        digest=digest_of(sent),
    )
    request = with_data(vllm_request(run, request, spec.env), local_data(shipped))
    request = with_checkpoints(request, found.kept)
    strategy = found.layout.strategy if found.layout is not None else run.strategy
    page = compose(
        pinned(spec, found.revisions),
        sent,
        facts,
        run,
        found.machine,
        found.precision,
        decided,
        strategy,
        request,
        found.kept,
        absolute=traits.absolute_paths,
    )
    fixes = planned_fixes(run, found.layout, found.estimate, choice, decided.arguments, facts.hardware or snapshot())
    page = replace(page, pace=planned_pace(found.estimate, run), fixes=fixes)
    return Plan(
        spec=spec,
        backend=traits.name,
        request=replace(request, script=render_script(page)),
        flavor=found.machine.flavor,
        choice=choice,
        estimate=found.estimate if found.estimate.is_known else None,
        decisions=(*_read_otherwise(spec), *_chosen_flavor(run, choice), *decided.decisions),
        problems=found.problems,
        unchecked=found.unchecked,
        prices=(facts.hardware or snapshot()).source,
        gaps=facts.gaps,
        unasked=facts.unasked,
        run=run,
        traits=traits,
        kept=found.kept,
        readers=readers(request.namespace, facts.account) if shipped else "",
        revisions={decision.path: decision.value for decision in found.revisions},
    )


def _with(decided: Decided, *more: Decision) -> Decided:
    return replace(decided, decisions=(*decided.decisions, *more))


def _fit_memory(found: Draft) -> Draft:
    """Add what vLLM gets of the GPUs, and the longest sequence it may have, to the memory of training."""
    run, machine, vllm = found.run, found.machine, found.run.vllm
    memory = memory_on(found.workload, run.simulation, machine.world_size)
    if vllm is None:
        return replace(found, estimate=replace(found.estimate, memory=memory))
    gpus = machine.server_gpus or found.decided.arguments.get("vllm_tensor_parallel_size", vllm.gpus)
    memory, shared = share_gpu(run, memory, machine, gpus)
    own = server_share(vllm) if machine.server_gpus else vllm.share
    share = shared.value if shared else own
    context = choose_context(run, vllm, machine, gpus, share) if vllm.is_ours else None
    made = [decision for decision in (shared, context) if decision is not None]
    decided = _with(found.decided, *made)
    arguments = decided.arguments | {decision.path: decision.value for decision in made}
    decided = replace(decided, arguments=arguments)
    return replace(found, decided=decided, estimate=replace(found.estimate, memory=memory))


def _read_otherwise(spec: TrainSpec) -> tuple[Decision, ...]:
    return tuple(Decision(note.path, note.value, note.why) for note in spec.notes)


def _chosen_flavor(run: Run, choice: FlavorChoice | None) -> tuple[Decision, ...]:
    if choice is None or choice.flavor is None or choice.estimate is None or run.hardware.flavor != "auto":
        return ()
    spare = f", {choice.headroom:.1f} GiB to spare" if choice.headroom else ""
    why = why_chosen(choice.estimate, choice.fitting, run.hardware.prefer)
    return (Decision("hardware.flavor", choice.flavor.name, why + spare),)
