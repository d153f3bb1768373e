"""Spec and facts to plan: check the spec, choose the hardware, resolve for it, check the run, render."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts, Flavor, HardwareFacts
from hfjobs_trainer.planning.arguments.decide import Resolved, resolve
from hfjobs_trainer.planning.arguments.trackers import tracking_secrets
from hfjobs_trainer.planning.arguments.vllm import is_colocated, uses_vllm, vllm_request
from hfjobs_trainer.planning.compose import compose
from hfjobs_trainer.planning.flavors import FlavorChoice, snapshot
from hfjobs_trainer.planning.forecast import Estimate
from hfjobs_trainer.planning.machine import choose_machine, memory_of
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate
from hfjobs_trainer.planning.memory.vllm import choose_context, server_share, share_gpu
from hfjobs_trainer.planning.names import basename, slug
from hfjobs_trainer.planning.plan import Decision, JobRequest, Plan
from hfjobs_trainer.planning.timeout import decide_timeout
from hfjobs_trainer.problems import RULES, Problem, Unchecked, run_rules
from hfjobs_trainer.rendering.render import render_script
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.context import Context

LABEL_DIGITS = 12
"""Hexadecimal digits of the spec's digest in a job's label."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A spec after all rules: what was found, and what was worked out on the way."""

    resolved: Resolved
    flavor: Flavor | None
    choice: FlavorChoice | None
    estimate: Estimate
    timeout_seconds: int | None
    hardware: HardwareFacts
    problems: tuple[Problem, ...]
    unchecked: tuple[Unchecked, ...]


def check_run(spec: TrainSpec, facts: Facts, *, backend: str) -> Checked:
    """Apply every rule; never raises."""
    method = type(spec).METHOD.name
    hardware = facts.hardware or snapshot()
    context = Context(spec, facts, backend)
    problems, unchecked = run_rules(context, method=method, stage="spec")
    choice = None if backend == "local" else choose_machine(spec, facts)
    flavor, layout = (choice.flavor, choice.layout) if choice else (None, None)
    resolved = resolve(spec, facts, flavor, backend=backend, layout=layout)
    duration = choice.duration if choice else None
    if choice is not None and choice.cheapest is not None:
        # nothing is within the caps: what the plan then tells is what they are held against
        duration = choice.cheapest.duration
    price = flavor.usd_per_hour * spec.hardware.nodes if flavor else None
    timeout, timed = decide_timeout(spec, duration, price)
    resolved = replace(resolved, decisions=(*resolved.decisions, *timed))
    memory, resolved = _fit_vllm(spec, facts, resolved, flavor)
    context = replace(
        context,
        flavor=flavor,
        num_gpus=resolved.world_size,
        arguments=resolved.arguments,
        memory=memory,
        choice=choice,
        duration=duration,
        timeout_seconds=timeout,
    )
    found, lacking = run_rules(context, method=method, stage="run")
    problems, unchecked = [*problems, *found], [*unchecked, *lacking]
    if backend == "local":
        problems = [problem for problem in problems if problem.scope == "script"]
        unchecked = [item for item in unchecked if RULES[item.code].scope == "script"]
    estimate = Estimate(
        memory=memory,
        gpu=flavor.gpu if flavor else None,
        num_gpus=resolved.world_size,
        usable_gib=flavor.usable_gpu_memory_gib if flavor else None,
        layout=layout,
        duration=duration,
        why_not=choice.shortage if choice else None,
    )
    return Checked(resolved, flavor, choice, estimate, timeout, hardware, tuple(problems), tuple(unchecked))


def _fit_vllm(
    spec: TrainSpec, facts: Facts, resolved: Resolved, flavor: Flavor | None
) -> tuple[MemoryEstimate | None, Resolved]:
    """The memory of training, and with it what vLLM gets of the GPUs and how long its sequences may be."""
    memory = memory_of(spec, facts, resolved)
    if not uses_vllm(spec):
        return memory, resolved
    own = getattr(spec, "vllm_tensor_parallel_size", 1)
    gpus = resolved.server_gpus or resolved.arguments.get("vllm_tensor_parallel_size", own)
    memory, shared = share_gpu(spec, facts, memory, flavor, gpus)
    own = server_share(spec) if resolved.server_gpus else getattr(spec, "vllm_gpu_memory_utilization", 0.0)
    share = shared.value if shared else own
    is_ours = resolved.server_gpus or is_colocated(spec)
    context = choose_context(spec, facts, flavor, gpus, share) if is_ours else None
    made = [decision for decision in (shared, context) if decision is not None]
    arguments = resolved.arguments | {decision.path: decision.value for decision in made}
    return memory, replace(resolved, arguments=arguments, decisions=(*resolved.decisions, *made))


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
    request = request_of(
        spec,
        subject=basename(spec.model),
        flavor=flavor,
        timeout_seconds=checked.timeout_seconds,
        namespace=resolved.namespace,
        needs_token=bool(resolved.needs_token),
        backend=backend,
    )
    request = vllm_request(spec, request)
    script = render_script(compose(spec, facts, resolved, request, backend=backend))
    decisions = resolved.decisions
    if checked.choice is not None and spec.hardware.flavor == "auto" and flavor is not None:
        cheapest = "the cheapest that fits" if checked.choice.duration is None else "where the run costs least"
        spare = f", {checked.choice.headroom:.1f} GiB to spare" if checked.choice.headroom else ""
        why = cheapest + spare
        decisions = (Decision("hardware.flavor", flavor.name, why), *decisions)
    return Plan(
        spec=spec,
        backend=backend,
        request=replace(request, script=script),
        flavor=flavor,
        choice=checked.choice,
        estimate=checked.estimate if checked.estimate.is_known else None,
        decisions=decisions,
        problems=checked.problems,
        unchecked=checked.unchecked,
        prices=checked.hardware.source,
        unanswered=facts.unanswered,
    )


def request_of(
    spec: JobSpec,
    *,
    subject: str,
    flavor: Flavor | None,
    timeout_seconds: int | None,
    namespace: str | None,
    needs_token: bool,
    backend: str,
) -> JobRequest:
    """What a backend is asked to run, but for the script.

    Args:
        spec: The spec.
        subject: What it is about, for the job's name: a model, a script.
        flavor: The chosen flavor.
        timeout_seconds: When the job is ended; ``None`` for no limit.
        namespace: User or organization that runs and pays.
        needs_token: Whether the script needs HF_TOKEN.
        backend: ``"hub"`` or ``"local"``.
    """
    secrets = [*spec.secrets, *tracking_secrets(spec.tracking.report_to, spec.env, backend)]
    if needs_token and "HF_TOKEN" not in secrets:
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
    said = (spec.tracking.name or subject).lower()
    return JobRequest(
        script="",
        name=slug(said if said.startswith(method) else f"{method}-{said}", 60),
        flavor=flavor.name if flavor else None,
        timeout_seconds=timeout_seconds,
        env=env | spec.env,
        secrets=tuple(dict.fromkeys(secrets)),
        labels=labels | spec.labels,
        namespace=namespace,
        image=spec.image,
        nodes=spec.hardware.nodes,
    )
