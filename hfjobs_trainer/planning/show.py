"""A plan as text: what will run, what it may cost, and every value that was chosen."""

from __future__ import annotations

import shlex

from hfjobs_trainer.contents import split_pin
from hfjobs_trainer.facts.backends import traits_of
from hfjobs_trainer.planning.arguments.trackers import TRACKERS
from hfjobs_trainer.planning.duration.estimate import billed_usd
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.planning.shipping import BUCKET, folder_of
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.durations import format_duration
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.script import Script

DIGITS = 12
"""Digits of a digest that are shown."""
WORTH_TELLING = 0.01
"""Share of a run's time from which a part of it is named."""


def show(plan: Plan) -> str:
    """What ``print(plan)`` prints."""
    spec, request = plan.spec, plan.request
    lines = [_subject(plan), *_rows("where", _where(plan)), *_rows("time", _time(plan))]
    if isinstance(spec, TrainSpec):
        lines += _rows("memory", _memory(plan))
        lines += _rows("model goes to", _destination(plan, spec))
    lines += _rows("metrics go to", _tracking(plan))
    lines += _rows("local data", _data_sent(plan))
    if request.secrets:
        lines += _rows("secrets", [f"{', '.join(request.secrets)} (read when you submit)"])
    if plan.decisions:
        width = max(len(decision.path) for decision in plan.decisions)
        chosen = [f"{item.path:<{width}} = {item.value}  ({item.why})" for item in plan.decisions]
        lines += ["chosen for you", *(f"  {line}" for line in chosen)]
    lines = [_visible(line) for line in lines]
    for title, items in (("problems", plan.problems), ("unchecked", plan.unchecked)):
        if items:
            lines += [title, *(f"  {item}" for item in items)]
    return "\n".join(lines)


def _subject(plan: Plan) -> str:
    spec = plan.spec
    if isinstance(spec, Script):
        return " ".join([f"Script {spec.script}", *(shlex.quote(item) for item in spec.script_args)])
    trained = f"LoRA r={spec.lora.r}" if spec.lora else "all weights"
    return f"{type(spec).METHOD.label} of {_short(spec.model)} ({trained}) on {_data(spec.dataset)}"


def _data(dataset: Dataset) -> str:
    return " + ".join(f"{_short(part.id)}, split {part.split}" for part in dataset.parts)


def _short(id: str) -> str:
    """An id with the first digits alone of its digest, if it has one."""
    path, digest = split_pin(id)
    return path if digest is None else f"{path} ({digest[:DIGITS]})"


def _data_sent(plan: Plan) -> list[str]:
    request = plan.request
    lines: list[str] = []
    for item in request.data:
        content, folder = item.content, folder_of(item.content.digest)
        source = next((volume.source for volume in request.volumes if volume.path == folder), BUCKET)
        count = len(content.parts)
        files = f" in {count:,} file{'s' if count > 1 else ''}" if content.is_folder else ""
        what = f"{', '.join(item.fields)}: {content.name}, {_bytes(content.size)}{files}"
        target = f"{source}/{folder}"[: DIGITS - len(content.digest)]
        lines.append(f"{what}, to {target}..., read-only in the job")
    return [*lines, f"uploaded when you submit, unless it is there; {plan.readers}"] if lines else []


def _bytes(size: int) -> str:
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} byte{'' if size == 1 else 's'}"


def _visible(line: str) -> str:
    """The line with what would move the cursor or hide spelt out: names are anyone's."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def _rows(title: str, values: list[str]) -> list[str]:
    return [f"  {title if index == 0 else '':<14} {value}" for index, value in enumerate(values)]


def _where(plan: Plan) -> list[str]:
    traits = plan.traits or traits_of(plan.backend)
    place = traits.place or traits.name
    if not traits.rents:
        return [place]
    if plan.flavor is None:
        return ["no flavor could be chosen: set hardware"]
    flavor = plan.flavor
    gpus = f"{flavor.num_gpus} x {flavor.gpu}" if flavor.num_gpus > 1 else flavor.gpu or "no GPU"
    nodes = plan.request.nodes
    several, price = f"{nodes} nodes of " if nodes > 1 else "", flavor.usd_per_hour * nodes
    vllm = plan.run.vllm if plan.run is not None else None
    serves = ", the last serves with vLLM" if vllm is not None and vllm.apart else ""
    owner = f", paid by {plan.request.namespace}" if plan.request.namespace else ""
    return [f"{several}{flavor.name} on {place}: {gpus}{serves}, ${price:.2f}/h ({plan.prices}){owner}"]


def _time(plan: Plan) -> list[str]:
    seconds, duration = plan.timeout_seconds, plan.estimate.duration if plan.estimate else None
    lines: list[str] = []
    if duration is not None:
        lines.append(f"about {duration.seconds.as_duration()}, {duration.usd.as_usd()}, {duration.steps:,} steps")
        shares = {name: part.expected / duration.seconds.expected for name, part in duration.parts.items()}
        lines.append(", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= WORTH_TELLING))
        lines += duration.assumptions
    if seconds is None:
        return [*lines, "no timeout"]
    limit = f"timeout {format_duration(seconds)}"
    if plan.flavor is not None:
        limit += f": at most ${billed_usd(seconds, plan.flavor.usd_per_hour * plan.request.nodes):.2f}"
    return [*lines, limit]


def _memory(plan: Plan) -> list[str]:
    """The peak on one line; ``print(plan.estimate.memory)`` has its parts."""
    estimate = plan.estimate
    if estimate is None or estimate.memory is None:
        return ["unknown: the model's size is not known"]
    memory = estimate.memory
    peak, *_ = str(memory).split("\n")
    if estimate.verdict is not None:
        peak += f": {estimate.verdict} in {estimate.usable_gib:.1f} GiB"
    if memory.gpu_fraction:
        peak += f", of which vLLM takes {memory.gpu_fraction:.0%}"
    return [peak, *([f"assumed: {', '.join(memory.assumed)}"] if memory.assumed else [])]


def _destination(plan: Plan, spec: TrainSpec) -> list[str]:
    output = spec.output
    if not output.pushes:
        return ["the machine's disk only"]
    repo = output.hub_model_id or next(
        (d.value for d in plan.decisions if d.path == "output.hub_model_id"), "your account"
    )
    return [f"{repo} ({'private' if output.private else 'public'})"]


def _tracking(plan: Plan) -> list[str]:
    tracking = plan.spec.tracking
    tracker = TRACKERS.get(tracking.report_to)
    if tracker is None:
        return ["the log only"]
    chosen = {decision.path: decision.value for decision in plan.decisions}
    if tracker.files:
        return [f"{tracker.files} files in {chosen.get('tracking')}"]
    project = tracking.project or chosen.get("tracking.project")
    parts = [f"{tracking.report_to} project {project}", f"group {tracking.group}" if tracking.group else ""]
    if tracker.spaces:
        space = tracking.space_id or chosen.get("tracking.space_id")
        parts.append(f"Space {space}" if space else "on the machine's disk")
    return [", ".join(part for part in parts if part)]
