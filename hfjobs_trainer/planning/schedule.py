"""A plan that is to run again and again: when, and whether that is possible."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from hfjobs_trainer.planning.labels import RUN_ID
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.fixes import REMOVE, change

CODES: dict[str, str] = {
    "SCHED001": "The schedule is neither a name that Jobs know nor a cron line of five fields.",
    "SCHED002": "The run cannot be on a schedule: on another backend than Jobs, on several nodes, with SSH, or with "
    "`HFT_RUN_ID`, which would have each run continue the last one.",
}
"""The problems of a schedule, by code."""

NAMES = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually")
# field, its smallest and its largest value
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
# what the Hub takes in a field, read off its OpenAPI document: *  5  1,5  1-5  */5  5/10
_FIELD = re.compile(r"\*|\d+(?:,\d+)*|\d+-\d+|(?:\*|\d+)/\d+")
_LONGEST = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}


def on_schedule(plan: Plan, schedule: str, *, is_possible: bool) -> Plan:
    """The plan as it would run on this schedule, with the problems of that.

    Args:
        plan: The plan of one run.
        schedule: ``"@weekly"`` or the like, or a cron line of five fields, in UTC.
        is_possible: Whether the backend has schedules.
    """
    text = " ".join(str(schedule).split())
    text = text.lower() if text.startswith("@") else text
    # the plan may be that of another schedule
    others = [problem for problem in plan.problems if problem.code not in CODES]
    problems = (*others, *_misspelt(text), *_unfit(plan, is_possible=is_possible))
    return replace(plan, request=replace(plan.request, schedule=text), problems=problems)


def _misspelt(schedule: str) -> Iterator[Problem]:
    why, fix = "", 'schedule="@weekly"'
    if schedule.startswith("@"):
        if schedule not in NAMES:
            why = f"{schedule!r} is none of {', '.join(NAMES)}"
    else:
        fix = 'schedule="0 3 * * 1"'
        why = _wrong_line(schedule)
    if why:
        yield Problem("SCHED001", "schedule", why, fix, scope="remote")


def _wrong_line(schedule: str) -> str:
    """What is wrong with a cron line; empty if nothing is."""
    given = schedule.split()
    names = ", ".join(name for name, _, _ in FIELDS)
    if len(given) != len(FIELDS):
        return f"{schedule!r} has {len(given)} fields, not the five of a cron line: {names}"
    for text, (name, low, high) in zip(given, FIELDS, strict=True):
        if not _FIELD.fullmatch(text):
            forms = "*, 5, 1,5, 1-5, */5 and 5/10"
            return f"the {name} is {text!r}: of cron, Jobs take {forms}, with numbers only"
        start, slash, step = text.partition("/")
        numbers = [int(number) for number in re.findall(r"\d+", start)]
        if wrong := [number for number in numbers if not low <= number <= high]:
            return f"the {name} is {wrong[0]}, which must be from {low} to {high}"
        if slash and not 1 <= int(step) <= high:
            return f"the {name} is {text!r}: a step must be from 1 to {high}"
        if "-" in text and numbers[0] > numbers[1]:
            return f"the {name} is {text!r}, which ends before it begins"
    days, months = given[2], given[3]
    if re.fullmatch(r"[\d,]+", days) and re.fullmatch(r"[\d,]+", months) and given[4] == "*":
        longest = max(_LONGEST[int(month)] for month in months.split(","))
        if min(map(int, days.split(","))) > longest:
            return f"the day of the month is {days}, which month {months} never has"
    return ""


def _unfit(plan: Plan, *, is_possible: bool) -> Iterator[Problem]:
    hardware = plan.spec.hardware
    found: list[tuple[str, str, str]] = []
    if not is_possible:
        found.append(("schedule", f'only Jobs have schedules, the backend "{plan.backend}" has none', 'backend="hub"'))
    if hardware.nodes > 1:
        why = f"a scheduled job is one job, and {hardware.nodes} nodes are as many jobs"
        found.append(("hardware.nodes", why, change(plan.spec, {"hardware.nodes": REMOVE})))
    if hardware.ssh:
        fix = change(plan.spec, {"hardware.ssh": REMOVE})
        found.append(("hardware.ssh", "scheduled jobs cannot be entered by SSH", fix))
    if RUN_ID in plan.spec.env:
        env = {name: value for name, value in plan.spec.env.items() if name != RUN_ID}
        found.append((f"env.{RUN_ID}", "each run would continue the last one", change(plan.spec, {"env": env})))
    for path, why, fix in found:
        yield Problem("SCHED002", path, why, fix, scope="remote")
