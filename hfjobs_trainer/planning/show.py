"""A plan as text: what will run, what it may cost, and every value that was chosen."""

from __future__ import annotations

import shlex
from dataclasses import replace

from hfjobs_trainer.contents import relative, split_pin
from hfjobs_trainer.display import html_code, html_pairs, html_section, html_table, plural, text, visible
from hfjobs_trainer.errors import count_problems
from hfjobs_trainer.facts.backends import traits_of
from hfjobs_trainer.planning.arguments.trackers import TRACKERS
from hfjobs_trainer.planning.bucket import BUCKET
from hfjobs_trainer.planning.duration.estimate import billed_usd
from hfjobs_trainer.planning.gaps import ask_again
from hfjobs_trainer.planning.hardware.machine import PROXY_USD_PER_HOUR, hourly_usd
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.planning.saving import NOTHING
from hfjobs_trainer.planning.shipping import BUCKET as DATA_BUCKET
from hfjobs_trainer.planning.shipping import folder_of
from hfjobs_trainer.problems import html_problems, html_unchecked, in_short
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.durations import format_duration
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.script import Script

DIGITS = 12
"""Digits of a digest that are shown."""
_CAUSES = {"unasked": "not asked", "unanswered": "no answer", "refused": "refused", "absent": "not on the Hub"}
WORTH_TELLING = 0.01
"""Share of a run's time from which a part of it is named."""


def show(plan: Plan) -> str:
    """What ``print(plan)`` prints."""
    lines = [_subject(plan)]
    for title, values in _facts(plan).items():
        lines += [f"  {title if index == 0 else '':<14} {value}" for index, value in enumerate(values)]
    if plan.decisions:
        width = max(len(decision.path) for decision in plan.decisions)
        chosen = [f"{item.path:<{width}} = {item.value}  ({item.why})" for item in plan.decisions]
        lines += ["chosen for you", *(f"  {line}" for line in chosen)]
    lines = [visible(line) for line in lines]
    told = {"problems": plan.problems, **_not_told(plan), "unchecked": _unchecked(plan)}
    for title, items in told.items():
        if items:
            lines += [title, *(f"  {item}" for item in items)]
    return "\n".join(lines)


def show_html(plan: Plan) -> str:
    """What a notebook shows of a plan: what will run at a glance, the rest in sections that open; the script folded."""
    parts = [f"<b>{text(_subject(plan))}</b>", html_pairs(_facts(plan))]
    if plan.problems:
        parts.append(html_section(count_problems(plan.problems), html_problems(plan.problems), is_open=True))
    if plan.decisions:
        rows = [(item.path, str(item.value), item.why) for item in plan.decisions]
        table = html_table(("field", "value", "why"), rows)
        parts.append(html_section(f"{plural(len(rows), 'value')} chosen for you", table))
    for title, lines in _not_told(plan).items():
        items = "".join(f"<li>{text(item)}</li>" for item in lines)
        parts.append(html_section(title, f"<ul>{items}</ul>", is_open=True))
    parts.append(html_unchecked(plan.unchecked))
    lines = plan.script.count("\n")
    parts.append(html_section(f"the script, {lines:,} lines", html_code(plan.script)))
    return f"<div>{''.join(parts)}</div>"


def summarize(plan: Plan) -> str:
    """The plan in a line: what runs where, for how much, and how many problems there are."""
    duration = plan.estimate.duration if plan.estimate else None
    told = [_subject(plan), f"on {plan.flavor.name if plan.flavor else plan.backend}"]
    if duration is not None:
        told.append(f"about {duration.seconds.as_duration()}")
    told.append(count_problems(plan.problems))
    return visible(f"<Plan: {', '.join(told)}>")


def _facts(plan: Plan) -> dict[str, list[str]]:
    """What the plan is at a glance: lines by title."""
    spec, request = plan.spec, plan.request
    facts = {"where": _where(plan), "time": _time(plan)} | {title: [text] for title, text in _asked_of_jobs(plan)}
    if others := [alternative.text for alternative in plan.alternatives]:
        facts["or"] = others
    if isinstance(spec, TrainSpec):
        facts |= {"memory": _memory(plan), "checkpoints": _protection(plan), "model goes to": _destination(plan, spec)}
    facts["metrics go to"] = _tracking(plan)
    if sent := _data_sent(plan):
        facts["local data"] = sent
    if request.secrets:
        facts["secrets"] = [f"{', '.join(request.secrets)} (read when you submit)"]
    return facts


def _not_told(plan: Plan) -> dict[str, list[str]]:
    """What the Hub was not asked for, has not answered, refuses, or has not: lines by title."""
    if plan.unasked:
        how = f"the Hub was not asked ({plan.unasked})"
        return {"not asked": [f"everything: {how}; {ask_again(plan)} asks it, which submit takes"]}
    told: dict[str, list[str]] = {}
    for kind, title in _CAUSES.items():
        if lines := [visible(str(gap)) for gap in plan.gaps if gap.kind == kind]:
            told[title] = lines
    if "no answer" in told:
        what = "hft.gather(spec, fresh=True) asks for everything anew"
        told["no answer"].append(f"{ask_again(plan)} asks again for these alone; {what}")
    if any(item.cause == "unasked" for item in plan.unchecked):
        told["not asked"] = [f"the Hub, since facts= was given; {ask_again(plan)} asks it"]
    return told


def _unchecked(plan: Plan) -> list[str]:
    """The rules that could not be checked; why the Hub does not say it was told before."""
    short = in_short(plan.unchecked)
    return [str(replace(item, why=_CAUSES.get(item.cause, ""))) for item in short]


def _subject(plan: Plan) -> str:
    spec = plan.spec
    if isinstance(spec, Script):
        return " ".join([f"Script {spec.script}", *(shlex.quote(item) for item in spec.script_args)])
    trained = f"LoRA r={spec.lora.r}" if spec.lora else "all weights"
    return f"{type(spec).METHOD.label} of {_short(spec.model)} ({trained}) on {_data(spec.dataset)}"


def _data(dataset: Dataset) -> str:
    return " + ".join(f"{_short(part.id)}, split {part.split}" for part in dataset.parts)


def _short(id: str) -> str:
    """An id with the first digits alone of its digest, if it has one; of an absolute path the name."""
    path, digest = split_pin(id)
    name = relative(path)
    return name if digest is None else f"{name} ({digest[:DIGITS]})"


def _data_sent(plan: Plan) -> list[str]:
    request = plan.request
    lines: list[str] = []
    for item in request.data:
        content, folder = item.content, folder_of(item.content.digest)
        source = next((volume.source for volume in request.volumes if volume.path == folder), DATA_BUCKET)
        files = f" in {plural(len(content.parts), 'file')}" if content.is_folder else ""
        what = f"{', '.join(item.fields)}: {content.name}, {_bytes(content.size)}{files}"
        target = f"{source}/{folder}"[: DIGITS - len(content.digest)]
        lines.append(f"{what}, to {target}..., read-only in the job")
    return [*lines, f"uploaded when you submit, unless it is there; {plan.readers}"] if lines else []


def _bytes(size: int) -> str:
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return plural(size, "byte")


def _where(plan: Plan) -> list[str]:
    traits = plan.traits or traits_of(plan.backend)
    place = traits.place or traits.name
    if not traits.rents:
        return [place]
    if plan.flavor is None:
        known = plan.unasked or plan.unanswered
        return [f"{place}, no flavor chosen yet" if known else "no flavor could be chosen: set hardware"]
    flavor = plan.flavor
    gpus = f"{flavor.num_gpus} x {flavor.gpu}" if flavor.num_gpus > 1 else flavor.gpu or "no GPU"
    nodes = plan.request.nodes
    several, price = f"{nodes} nodes of " if nodes > 1 else "", hourly_usd(flavor, plan.request)
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
        known = not (plan.unasked or plan.unanswered) or plan.flavor is not None
        return [*lines, "no timeout" if known else "unknown, as is the timeout"]
    limit = f"timeout {format_duration(seconds)}"
    if plan.flavor is not None:
        attempts = plan.request.attempts
        most = billed_usd(seconds, hourly_usd(plan.flavor, plan.request)) * attempts
        limit += f": at most ${most:.2f}{f' in {attempts} attempts' if attempts > 1 else ''}"
        limit += " a run" if plan.request.schedule else ""
    return [*lines, limit]


def _asked_of_jobs(plan: Plan) -> list[tuple[str, str]]:
    """What was asked of Jobs beside a machine, with what it costs: title and text of each."""
    request, cap = plan.request, plan.spec.hardware.max_usd
    found: list[tuple[str, str]] = []
    if request.schedule:
        capped = f", max_usd={cap:g} is for each" if cap is not None else ""
        found.append(("schedule", f"{request.schedule} (UTC), until it is deleted; each run is paid for{capped}"))
    if request.attempts > 1:
        goes_on = plan.kept is not None and plan.kept.is_durable
        then = "goes on at the last checkpoint" if goes_on else "begins anew"
        most = f"up to {request.attempts} times the money"
        found.append(("attempts", f"{request.attempts}: after a failure the training {then}, {most}"))
    if request.ssh:
        found.append(("SSH", "ssh JOB@ssh.hf.jobs with a key of the account; a session does not keep the job running"))
    if request.expose:
        fee = PROXY_USD_PER_HOUR * request.nodes
        ports = ", ".join(map(str, request.expose))
        found.append(
            ("ports", f"{ports}, at https://JOB--PORT.hf.jobs with a token that may read the job: ${fee:.2f}/h")
        )
    if request.resource_group_id:
        found.append(("resource group", f"{request.resource_group_id}, whose spending limit applies"))
    return found


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


def _protection(plan: Plan) -> list[str]:
    """Where checkpoints go, how often they are written, and what is lost if the machine fails."""
    kept = plan.kept or NOTHING
    bucket = f"{plan.request.namespace}/{BUCKET}" if plan.request.namespace else BUCKET
    places = {"bucket": f"bucket {bucket}", "hub": "the model's repository", "disk": "the machine's disk"}
    if kept.place is None:
        return [f"none that the run could go on from ({kept.why})"]
    if kept.saves is None:
        return [places[kept.place]]
    when = "every step" if kept.saves.every == 1 else f"every {kept.saves.every:,} steps"
    strategy = plan.spec.save_strategy if isinstance(plan.spec, TrainSpec) else "steps"
    if strategy == "best":  # nobody knows when
        return [f"{places[kept.place]}, after each evaluation that is the best so far"]
    if strategy == "no":
        when = "only as it is stopped"
    return [f"{places[kept.place]}, {when}: {kept.saves.risk}"]


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
        traits = plan.traits or traits_of(plan.backend)
        nowhere = "a Space of the job's owner" if traits.uses_account else "on the machine's disk"
        parts.append(f"Space {space}" if space else nowhere)
    return [", ".join(part for part in parts if part)]
