"""Spec and facts to plan: check the spec, choose the hardware, resolve for it, check the run, render."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts, Flavor, HardwareFacts
from hfjobs_trainer.planning.architecture import count_parameters
from hfjobs_trainer.planning.compose import compose
from hfjobs_trainer.planning.flavors import FlavorChoice, Requirements, choose_flavor, find_flavor, snapshot
from hfjobs_trainer.planning.labels import basename, slug
from hfjobs_trainer.planning.memory import MemoryEstimate, estimate_memory
from hfjobs_trainer.planning.plan import Decision, JobRequest, Plan
from hfjobs_trainer.planning.resolve import Resolved, precision_of, resolve
from hfjobs_trainer.planning.trackers import tracking_secrets
from hfjobs_trainer.planning.workload import workload
from hfjobs_trainer.problems import RULES, Problem, Unchecked, run_rules
from hfjobs_trainer.rendering.render import render_script
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
"""Bytes of one weight by dtype."""

LABEL_DIGITS = 12
"""Hexadecimal digits of the spec's digest in a job's label."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A spec after all rules: what was found, and what was worked out on the way."""

    resolved: Resolved
    flavor: Flavor | None
    choice: FlavorChoice | None
    memory: MemoryEstimate | None
    hardware: HardwareFacts
    problems: tuple[Problem, ...]
    unchecked: tuple[Unchecked, ...]


def check_run(spec: TrainSpec, facts: Facts, *, backend: str) -> Checked:
    """Apply every rule; never raises."""
    method = type(spec).METHOD.name
    hardware = facts.hardware or snapshot()
    context = Context(spec, facts, backend)
    problems, unchecked = run_rules(context, method=method, stage="spec")
    choice = None if backend == "local" else choose_hardware(spec, facts)
    flavor = choice.flavor if choice else None
    resolved = resolve(spec, facts, flavor, backend=backend)
    memory = _memory(spec, facts, flavor, resolved)
    context = replace(
        context,
        flavor=flavor,
        num_gpus=max(1, resolved.num_gpus),
        arguments=resolved.arguments,
        memory=memory,
        choice=choice,
    )
    found, lacking = run_rules(context, method=method, stage="run")
    problems, unchecked = [*problems, *found], [*unchecked, *lacking]
    if backend == "local":
        problems = [problem for problem in problems if problem.scope == "script"]
        unchecked = [item for item in unchecked if RULES[item.code].scope == "script"]
    return Checked(resolved, flavor, choice, memory, hardware, tuple(problems), tuple(unchecked))


def choose_hardware(spec: TrainSpec, facts: Facts) -> FlavorChoice:
    """The flavor that the user named, or the cheapest that fits."""
    hardware = facts.hardware or snapshot()
    wanted = spec.hardware
    if wanted.flavor != "auto":
        flavor = find_flavor(wanted.flavor, hardware)
        estimate = None if flavor is None else _memory(spec, facts, flavor, None)
        return FlavorChoice.named(flavor, estimate)
    precision, is_set = precision_of(spec, None)
    resolved = resolve(spec, facts, None, backend="hub")
    parameters = facts.model.num_parameters or count_parameters(facts.model)
    requirements = Requirements(
        memory=_memory(spec, facts, None, resolved),
        bf16=precision == "bf16" or not is_set,
        min_gpus=wanted.num_gpus or (2 if wanted.strategy == "ddp" else 1),
        max_gpus=1 if wanted.strategy == "single" else None,
        max_usd_per_hour=wanted.max_usd_per_hour,
        weights_bytes=parameters * BYTES.get(resolved.dtype, 4.0) if parameters else None,
    )
    return choose_flavor(requirements, hardware)


def assemble(spec: TrainSpec, facts: Facts, *, backend: str = "hub") -> Plan:
    """Work a spec out in full: a pure function, the same plan for the same spec and facts.

    Raises:
        SpecError: The script itself would be wrong. What only stops the remote run is left in ``plan.problems``.
    """
    checked = check_run(spec, facts, backend=backend)
    wrong = [problem for problem in checked.problems if problem.scope == "script" and problem.severity == "error"]
    if wrong:
        raise SpecError(checked.problems, f"{type(spec).METHOD.label} spec")
    resolved, flavor = checked.resolved, checked.flavor
    request = _request(spec, resolved, flavor, backend)
    script = render_script(compose(spec, facts, resolved, request, backend=backend))
    decisions = resolved.decisions
    if checked.choice is not None and spec.hardware.flavor == "auto" and flavor is not None:
        why = "the cheapest that fits" + (
            f", {checked.choice.headroom:.1f} GiB to spare" if checked.choice.headroom else ""
        )
        decisions = (Decision("hardware.flavor", flavor.name, why), *decisions)
    return Plan(
        spec=spec,
        backend=backend,
        request=replace(request, script=script),
        flavor=flavor,
        choice=checked.choice,
        estimate=checked.memory,
        decisions=decisions,
        problems=checked.problems,
        unchecked=checked.unchecked,
        prices=checked.hardware.source,
    )


def _memory(spec: TrainSpec, facts: Facts, flavor: Flavor | None, resolved: Resolved | None) -> MemoryEstimate | None:
    planned = resolved or resolve(spec, facts, flavor, backend="hub")
    return estimate_memory(workload(spec, facts, planned), num_gpus=max(1, planned.num_gpus))


def _request(spec: TrainSpec, resolved: Resolved, flavor: Flavor | None, backend: str) -> JobRequest:
    secrets = [*spec.secrets, *tracking_secrets(spec.tracking.report_to, spec.env, backend)]
    if resolved.needs_token and "HF_TOKEN" not in secrets:
        secrets.append("HF_TOKEN")
    env: dict[str, str] = {"PYTHONUNBUFFERED": "1"}
    if backend == "hub":
        # torch's version is pinned, its CUDA build is for the machine to choose: `uv pip` reads this, `uv run` does not
        # (astral-sh/uv#18157), so that the script checks its GPUs itself
        env["UV_TORCH_BACKEND"] = "auto"
    method = type(spec).METHOD.name
    labels = {"sdk": "hfjobs-trainer", "method": method, "spec": spec.digest[:LABEL_DIGITS]}
    if spec.tracking.group:
        labels["group"] = slug(spec.tracking.group)
    name = slug(f"{method}-{spec.tracking.name or basename(spec.model)}", 60).lower()
    return JobRequest(
        script="",
        name=name,
        flavor=flavor.name if flavor else None,
        timeout_seconds=resolved.timeout_seconds,
        env=env | spec.env,
        secrets=tuple(dict.fromkeys(secrets)),
        labels=labels | spec.labels,
        namespace=resolved.namespace,
        image=spec.image,
    )
