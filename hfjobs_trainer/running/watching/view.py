"""What a panel says of a run: rows of styled text, the same on every screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from hfjobs_trainer.running.backends.base import Usage
from hfjobs_trainer.running.watching.figures import (
    Marks,
    bar,
    dollars,
    duration,
    gib,
    number,
    rough,
    short_id,
    span,
    sparkline,
)
from hfjobs_trainer.running.watching.progress import Progress

Style = Literal["", "strong", "dim", "good", "warn", "bad", "accent"]
LABEL = 9
"""Columns of a row's label, with the gap behind it."""
GAP = "   "
# What is shown beside the curves, in this order, where it is reported, and how it is called.
METRICS = {
    "eval_loss": "eval_loss",
    "mean_token_accuracy": "accuracy",
    "eval_mean_token_accuracy": "eval_accuracy",
    "rewards/accuracies": "accuracy",
    "eval_rewards/accuracies": "eval_accuracy",
    "rewards/margins": "margin",
    "eval_reward": "eval_reward",
    "reward_std": "reward_std",
    "frac_reward_zero_std": "same_reward",
    "kl": "kl",
    "objective/kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "clipped",
    "accuracy": "accuracy",
    "grad_norm": "grad_norm",
    "learning_rate": "lr",
}
STAGES: dict[str, Style] = {"COMPLETED": "good", "RUNNING": "accent", "SCHEDULING": "warn"}
SHOWN_NODES = 8
"""Nodes of which the usage is shown at most."""


class Span(NamedTuple):
    """A piece of text.

    Attributes:
        text: The text.
        style: How it looks.
        link: Where it leads.
    """

    text: str
    style: Style = ""
    link: str | None = None


class Row(NamedTuple):
    """A line of the panel: a label, and what there is to say; a detail is left out where there is no room."""

    label: str
    spans: Sequence[Span]
    style: Style = "dim"
    is_detail: bool = False


class View(NamedTuple):
    """All that a panel says.

    Attributes:
        title: Its name.
        rows: Its lines.
        lines: The last lines of the log, which are left out first where there is no room.
        links: Where to look further.
    """

    title: Sequence[Span]
    rows: Sequence[Row]
    lines: Sequence[Row]
    links: Sequence[Row]


def view(progress: Progress, now: float, width: int, marks: Marks) -> View:
    """What there is to say of a run.

    Args:
        progress: What is known of it.
        now: Seconds since the epoch.
        width: Columns of a row.
        marks: The characters to draw with.
    """
    room = max(20, width - LABEL)
    details = (*_metrics(progress, room), *_speed(progress, room), *_machine(progress, room, marks))
    rows = [
        *_stage(progress, now, room, marks),
        *_nodes(progress),
        *_steps(progress, now, room, marks),
        *_curves(progress, room, marks),
        *(Row(row.label, row.spans, row.style, is_detail=True) for row in details),
        *_cost(progress, now, room),
        *_alerts(progress, room, marks),
    ]
    is_well = progress.status is not None and progress.status.succeeded  # nobody asks how, then
    lines = [
        Row("" if index else "log", [Span(line if len(line) <= room else line[: room - 3] + marks.cut, "dim")])
        for index, line in enumerate(() if is_well else progress.lines)
    ]
    return View(_title(progress, marks), rows, lines, [*_links(progress, room)])


def _title(progress: Progress, marks: Marks) -> list[Span]:
    record = progress.record
    place = record.flavor or ("this machine" if record.folder else "")
    known = [Span(progress.name or progress.method or "job", "strong"), Span(short_id(record.id))]
    known += [Span(place)] if place else []
    return [part for each in known for part in (Span(f" {marks.dot} ", "dim"), each)][1:]


def _stage(progress: Progress, now: float, room: int, marks: Marks) -> Iterator[Row]:
    status = progress.status
    if status is None:
        yield Row("stage", [Span(progress.outage or "asking for its status", "dim")])
        return
    style = STAGES.get(status.stage, "bad")
    began = status.created_at if status.started_at is None else status.started_at
    until = now if status.finished_at is None else status.finished_at.timestamp()
    took = "" if began is None else duration(max(0.0, until - began.timestamp()))
    if status.stage == "SCHEDULING":
        why = "in the queue for a machine" if not status.message else status.message
        if status.started_at is not None and began is not None:  # between two attempts, or a node is late
            why = f"waits for a machine: {status.message}" if status.message else "waits for another attempt"
    elif status.is_terminal:
        why = status.message or ""
    else:
        why = progress.phase or "starting"
        why += f" (attempt {progress.attempt})" if progress.attempt > 1 else ""
    after = "after " if status.is_terminal else ""
    head = [Span(f"{marks.stage} {status.stage}", style), Span(f" {after}{took}" if took else "", "strong")]
    told = textwrap.wrap(why, max(20, room - sum(len(each.text) for each in head) - 2)) or [""]
    yield Row("stage", [*head, Span(f"  {told[0]}")])
    for more in textwrap.wrap(why[len(told[0]) :].strip(), room)[:3]:
        yield Row("", [Span(more)])
    for line in textwrap.wrap(progress.outage, room, max_lines=2, placeholder=f" {marks.cut}"):
        yield Row("", [Span(line, "warn")])


def _nodes(progress: Progress) -> Iterator[Row]:
    members = () if progress.status is None else progress.status.members
    if len({member.stage for member in members}) > 1:
        told = ", ".join(f"{rank} {member.stage}" for rank, member in enumerate(members))
        yield Row("nodes", [Span(told)])
    elif members:
        yield Row("nodes", [Span(f"{len(members)}, all {members[0].stage}")])


def _steps(progress: Progress, now: float, room: int, marks: Marks) -> Iterator[Row]:
    planned = progress.planned
    told = "" if planned.low is None or planned.high is None else f"planned {span(planned.low, planned.high)}"
    share = progress.share
    if share is None:
        if told:
            yield Row("time", [Span(told, "dim")])
        return
    counts = f"{progress.step:,}/{progress.max_steps:,}"
    percent = f"{share:.0%}"
    done, left = bar(share, max(10, min(44, room - len(counts) - len(percent) - 4)), marks)
    style: Style = "good" if progress.step == progress.max_steps else "accent"
    yield Row("steps", [Span(done, style), Span(left, "dim"), Span(f"  {counts}", "strong"), Span(f"  {percent}")])
    seconds = progress.seconds_left(now)
    status = progress.status
    parts: list[Span] = []
    if seconds is not None and share < 1 and status is not None and not status.is_terminal:
        parts.append(Span(f"eta {rough(seconds)}", "strong"))
        if status.started_at is not None:
            parts.append(Span(f"{rough(now - status.started_at.timestamp() + seconds)} in all", "dim"))
    parts += [Span(told, "dim")] if told else []
    if progress.resumed_at:
        parts.append(Span(f"resumed after step {progress.resumed_at:,}", "dim"))
    if progress.kept is not None:
        parts.append(Span(f"checkpoint of step {progress.kept:,}", "dim"))
    yield from _packed("", [[part] for part in parts], room)


def _curves(progress: Progress, room: int, marks: Marks) -> Iterator[Row]:
    for name, curve in progress.curves.items():
        label = "reward" if name.endswith("reward") else name
        value = [Span(f"{number(curve.last):<8}  ", "bad" if curve.last is None else "strong")]
        if len(curve.points) > 1:
            ends = f"{number(curve.points[0])} {marks.to} {number(curve.points[-1])}"
            drawn = sparkline(curve.points, max(8, min(40, room - 12 - len(ends) - 2)), marks.heights)
            value += [Span(drawn, "accent"), Span(f"  {ends}", "dim")]
        yield Row(label, value)


def shown_metrics(progress: Progress) -> dict[str, float | None]:
    """What is shown beside the curves, by the name under which it is; of two of one name, the more special."""
    known = {label: progress.metrics[name] for name, label in METRICS.items() if name in progress.metrics}
    return known | {
        name.removeprefix("rewards/").removesuffix("/mean"): value  # of each reward function
        for name, value in progress.metrics.items()
        if name.startswith("rewards/") and name.endswith("/mean")
    }


def _metrics(progress: Progress, room: int) -> Iterator[Row]:
    known = shown_metrics(progress)
    items = [
        [Span(f"{name} ", "dim"), Span(number(value), "bad" if value is None else "")] for name, value in known.items()
    ]
    yield from [*_packed("metrics", items, room)][:2]


def _speed(progress: Progress, room: int) -> Iterator[Row]:
    items: list[list[Span]] = []
    if progress.pace:
        items.append([Span(f"{progress.pace:.3g}"), Span(" s/step", "dim")])
    if progress.tokens_per_second:
        items.append([Span(f"{progress.tokens_per_second:,.0f}"), Span(" tokens/s", "dim")])
    yield from _packed("speed", items, room)


def _machine(progress: Progress, room: int, marks: Marks) -> Iterator[Row]:
    usages = sorted(progress.usage.items())
    for node, usage in usages[:SHOWN_NODES]:
        yield from _packed(f"node {node}" if progress.machines > 1 else "machine", _usage(usage, marks), room)
    if progress.peak_gib and not any(usage.gpus for _, usage in usages):
        yield Row("gpu", [Span(f"{gib(progress.peak_gib)} GiB"), Span(" at its peak", "dim")])


def _usage(usage: Usage, marks: Marks) -> list[list[Span]]:
    items: list[list[Span]] = []
    if gpus := usage.gpus:
        fullest = max(gpus, key=lambda gpu: gpu.used_gib)
        percent = sum(gpu.percent for gpu in gpus) / len(gpus)
        one = len(gpus) == 1
        items.append(
            [
                Span("GPU " if one else f"{len(gpus)} GPUs ", "dim"),
                Span(f"{percent:.0f}%"),
                Span(f" {marks.dot} ", "dim"),
                Span(gib(fullest.used_gib)),
                Span(f" of {gib(fullest.total_gib)} GiB{'' if one else ' each'}", "dim"),
            ]
        )
    if usage.cpu_percent is not None:
        items.append([Span("CPU ", "dim"), Span(f"{usage.cpu_percent:.0f}%")])
    if usage.used_gib is not None:
        total = "" if usage.total_gib is None else f" of {gib(usage.total_gib)}"
        items.append([Span("RAM ", "dim"), Span(gib(usage.used_gib)), Span(f"{total} GiB", "dim")])
    return items


def _cost(progress: Progress, now: float, room: int) -> Iterator[Row]:
    usd, price = progress.usd(now), progress.usd_per_hour
    if not price or usd is None:
        return
    is_over = progress.status is not None and progress.status.is_terminal
    before = f", including {dollars(progress.usd_before)} of earlier jobs" if progress.usd_before else ""
    items = [[Span(dollars(usd), "strong"), Span(("" if is_over else " so far") + before, "dim")]]
    if not is_over:
        cap = progress.cap
        if (end := progress.usd_at_end(now)) is not None:
            style: Style = "warn" if cap is not None and end > cap[0] else "strong"
            items.append([Span("about ", "dim"), Span(dollars(end), style), Span(" at the end", "dim")])
        if cap is not None:
            items.append([Span(f"at most {dollars(cap[0])} ({cap[1]})", "dim")])
    yield from _packed("cost", items, room)


def _packed(label: str, items: Sequence[Sequence[Span]], room: int) -> Iterator[Row]:
    """Items side by side, on as many lines as they need."""
    line: list[Span] = []
    used = 0
    for item in items:
        size = sum(len(each.text) for each in item)
        if line and used + len(GAP) + size > room:
            yield Row(label, line)
            label, line, used = "", [], 0
        line += [Span(GAP), *item] if line else item
        used += size + len(GAP) if used else size
    if line:
        yield Row(label, line)


def _alerts(progress: Progress, room: int, marks: Marks) -> Iterator[Row]:
    for alert in progress.alerts:
        style: Style = "warn" if alert.kind == "warning" else "bad"
        count = f" ({marks.times}{alert.count})" if alert.count > 1 else ""
        wrapped = textwrap.wrap(alert.text + count, room, max_lines=3, placeholder=f" {marks.cut}")
        for index, line in enumerate(wrapped):
            yield Row("" if index else alert.kind, [Span(line, style)], style)


def _links(progress: Progress, room: int) -> Iterator[Row]:
    record, planned = progress.record, progress.planned
    hub, _, _ = (record.url or "https://huggingface.co/jobs/").partition("/jobs/")
    is_over = progress.status is not None and progress.status.is_terminal
    if progress.model is not None:
        yield from _address("model", progress.model, room)
    elif planned.model and not is_over:
        yield Row("model", [Span(f"{hub}/{planned.model}"), Span(" (to be pushed)", "dim")])
    if planned.tracker == "trackio" and planned.space:
        space = f"{hub}/spaces/{planned.space}"
        yield from _address("curves", space, room)
    elif planned.tracker == "trackio" and planned.project and record.folder:
        home = record.directory or record.folder
        command = f"TRACKIO_DIR={home}/trackio trackio show --project {planned.project}"
        for index, line in enumerate(textwrap.wrap(command, room, break_on_hyphens=False)):
            yield Row("" if index else "curves", [Span(line)])
    if record.url is not None:
        yield from _address("job", record.url, room)
    elif record.folder is not None:
        yield from _address("folder", record.folder, room)


def _address(label: str, where: str, room: int) -> Iterator[Row]:
    """An address or a folder, whole; each line of it leads there."""
    link = where if where.startswith(("https://", "http://")) else None
    for start in range(0, len(where), room):
        yield Row("" if start else label, [Span(where[start : start + room], "", link)])
