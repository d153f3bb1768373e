"""Which schedules Jobs take, and what is said of the others."""

from __future__ import annotations

import re

import pytest
from hubsim.schema import SCHEDULE

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.schedule import NAMES, on_schedule

PLAN = hft.plan(
    hft.SFT(model="a/b", dataset="c/d", timeout="1h", hardware=hft.Hardware(flavor="l4x1", max_usd=5.0)), facts=Facts()
)
GOOD = (
    *NAMES,
    *("0 3 * * 1", "*/15 * * * *", "0 0 1,15 * *", "0 9-17 * * 1-5", "5/10 * * * *", "0 0 31 1,4 *", "0 0 30 2 1"),
)
BAD = {
    "": "has 0 fields, not the five of a cron line: minute, hour, day of the month, month, day of the week",
    "0 3 * *": "has 4 fields",
    "0 0 3 * * 1": "has 6 fields",
    "weekly": "has 1 fields",
    "@fortnightly": "'@fortnightly' is none of @hourly, @daily, @weekly",
    "@reboot": "is none of",
    "60 * * * *": "the minute is 60, which must be from 0 to 59",
    "0 24 * * *": "the hour is 24, which must be from 0 to 23",
    "0 0 0 * *": "the day of the month is 0, which must be from 1 to 31",
    "0 0 * 13 *": "the month is 13, which must be from 1 to 12",
    "0 0 * * 8": "the day of the week is 8, which must be from 0 to 7",
    "0 0 * * MON": "the day of the week is 'MON': of cron, Jobs take",
    "0 0 * JAN *": "the month is 'JAN'",
    "1-5,7 * * * *": "the minute is '1-5,7'",
    "0-10/2 * * * *": "the minute is '0-10/2'",
    "*/0 * * * *": "the minute is '*/0': a step must be from 1 to 59",
    "0 17-9 * * *": "the hour is '17-9', which ends before it begins",
    "0 0 30 2 *": "the day of the month is 30, which month 2 never has",
    "0 0 31 4,6 *": "the day of the month is 31, which month 4,6 never has",
    "? * * * *": "the minute is '?'",
    "-1 * * * *": "the minute is '-1'",
}


@pytest.mark.parametrize("schedule", GOOD)
def test_what_jobs_take_is_taken(schedule: str) -> None:
    plan = on_schedule(PLAN, schedule, is_possible=True)
    assert plan.problems == PLAN.problems
    assert re.search(SCHEDULE["pattern"], plan.request.schedule or "")


@pytest.mark.parametrize(("schedule", "why"), BAD.items())
def test_what_they_do_not_take_is_told(schedule: str, why: str) -> None:
    plan = on_schedule(PLAN, schedule, is_possible=True)
    (problem,) = set(plan.problems) - set(PLAN.problems)
    assert (problem.code, problem.path) == ("SCHED001", "schedule")
    assert why in problem.why
    fixed = re.fullmatch(r'schedule="(.*)"', problem.fix)
    assert fixed is not None
    assert on_schedule(PLAN, fixed[1], is_possible=True).problems == PLAN.problems


def test_one_form_is_sent() -> None:
    for given, sent in ((" @Weekly ", "@weekly"), ("0  3 * *\t1", "0 3 * * 1")):
        assert on_schedule(PLAN, given, is_possible=True).request.schedule == sent


def test_a_plan_says_what_a_schedule_costs() -> None:
    shown = str(on_schedule(PLAN, "@weekly", is_possible=True))
    assert "  schedule       @weekly (UTC), until it is deleted; each run is paid for, max_usd=5 is for each" in shown
    assert "timeout 1h15m: at most $1.00 a run" in shown
    assert "schedule" not in str(PLAN)


def test_only_jobs_have_schedules() -> None:
    (problem,) = set(on_schedule(PLAN, "@weekly", is_possible=False).problems) - set(PLAN.problems)
    assert (problem.code, problem.fix) == ("SCHED002", 'backend="hub"')
