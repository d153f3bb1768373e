"""What a run may cost and how long it may take: timeouts, caps, and what is refused."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.planning.budget import LEAST_SECONDS
from tests.planning.known_models import LLAMA_8B, QWEN_05B
from tests.planning.test_machine import CHATS, ME, facts, sft


def plan(fields: dict[str, Any], known: Facts | None = None) -> hft.Plan:
    return hft.plan(sft(**fields), facts=known or facts())


def codes(made: hft.Plan) -> set[str]:
    return {problem.code for problem in made.problems if problem.severity == "error"}


def test_a_timeout_follows_from_the_estimate() -> None:
    made = plan({})
    assert made.estimate is not None
    assert made.estimate.seconds is not None
    assert made.timeout_seconds is not None
    longest = made.estimate.seconds.high * 1.25
    assert max(LEAST_SECONDS, longest) <= made.timeout_seconds < max(LEAST_SECONDS, longest) + 60
    assert not codes(made) & {"JOB001", "JOB002"}
    (decision,) = [item for item in made.decisions if item.path == "timeout"]
    assert "the upper estimate" in decision.why
    padded = plan({"timeout_padding": 1.0})
    assert padded.timeout_seconds is not None
    assert padded.timeout_seconds > made.timeout_seconds


def test_a_short_run_gets_a_quarter_of_an_hour() -> None:
    made = plan({"max_steps": 1, "hardware": "h200"})
    assert made.timeout_seconds is not None
    assert made.timeout_seconds >= LEAST_SECONDS == 15 * 60


def test_where_nothing_can_be_estimated_a_timeout_is_asked_for() -> None:
    made = plan({"hardware": "l4x1"}, facts(dataset=DatasetFacts(exists=True, columns=("messages",))))
    assert made.timeout_seconds is None
    assert "JOB001" in codes(made)


def test_the_users_timeout_wins_over_the_estimate() -> None:
    made = plan({"timeout": "10h"})
    assert made.timeout_seconds == 45_000
    assert made.estimate is not None
    assert made.estimate.duration is not None


@pytest.mark.parametrize("cap", [2.0, 3.3, 7.77])
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_bill_cannot_exceed_the_cap(cap: float, nodes: int) -> None:
    hardware = {"flavor": "a100-large", "max_usd": cap, "nodes": nodes}
    made = plan({"hardware": hardware, "timeout": "20h", "max_steps": 10})
    assert made.flavor is not None
    assert made.timeout_seconds is not None
    per_minute = made.flavor.usd_per_hour * nodes / 60
    minutes = made.timeout_seconds / 60
    assert minutes == math.floor(minutes)
    assert minutes * per_minute <= cap + 1e-9 < (minutes + 1) * per_minute + 1e-6
    (decision,) = [item for item in made.decisions if item.path == "timeout"]
    assert f"max_usd={cap:g}" in decision.why


def test_the_job_ends_by_the_deadline() -> None:
    made = plan({"hardware": {"flavor": "h200", "max_hours": 2}, "timeout": "10h", "max_steps": 10})
    assert made.timeout_seconds == 7200
    both = plan({"hardware": {"flavor": "h200", "max_hours": 2, "max_usd": 5}, "timeout": "10h", "max_steps": 10})
    assert both.timeout_seconds == 3600


def test_a_script_is_ended_by_its_caps() -> None:
    spec = hft.Script("train.py", hardware={"flavor": "a100-large", "max_usd": 5}, timeout="10h")
    from hfjobs_trainer.facts import ScriptFacts

    known = Facts(script=ScriptFacts(text="print(1)\n", sha256="0" * 64), account=ME)
    assert hft.plan(spec, facts=known).timeout_seconds == 7200


@pytest.mark.parametrize(
    ("hardware", "timeout", "fixes"),
    [
        ({"max_usd": 5}, "2h", []),
        ({"max_usd": 5}, "2h 1s", ['timeout="2h" at most, or max_usd=5.05']),
        ({"max_usd": 5, "max_hours": 1}, "90m", ['timeout="1h" at most, or max_hours=1.5']),
        ({"max_usd": 0.1}, "1h", ["max_usd=2.5"]),
        ({"flavor": "auto", "max_usd": 0.1}, "1h", []),
    ],
    ids=str,
)
def test_a_cap_that_cuts_the_timeout_of_a_script_is_an_error(
    hardware: dict[str, Any], timeout: str, fixes: list[str]
) -> None:
    spec = hft.Script("train.py", hardware={"flavor": "a100-large", **hardware}, timeout=timeout)
    report = hft.check(spec, facts=facts())
    assert [item.fix for item in report.problems if item.code == "COST005"] == fixes
    lacking = {item.code for item in report.unchecked}
    assert ("COST005" in lacking) is ("flavor" in hardware)


def test_what_a_cap_that_cuts_the_timeout_must_be_is_of_all_machines() -> None:
    hardware = {"flavor": "a100-large", "nodes": 2, "max_usd": 5}
    made = plan({"hardware": hardware, "timeout": "2h", "max_steps": 10})
    (problem,) = [item for item in made.problems if item.code == "COST005"]
    assert problem.fix == 'timeout="1h" at most, or max_usd=10'
    assert "COST005" not in codes(plan({"hardware": hardware, "timeout": "1h", "max_steps": 10}))


def test_a_run_over_its_budget_is_refused_with_an_alternative() -> None:
    made = plan({"hardware": {"flavor": "h200x8", "max_usd": 1}, "max_length": 2048})
    assert made.estimate is not None
    assert made.estimate.usd is not None
    with pytest.raises(hft.BudgetExceeded) as caught:
        hft.submit(made)
    assert caught.value.cap == 1
    assert caught.value.estimate == made.estimate.usd.expected
    (problem,) = [found for found in caught.value.problems if found.code == "COST001"]
    assert problem.path == "hardware.max_usd"
    cheapest = hft.compare_flavors(made.spec.replace(hardware={}), facts=facts()).rows[0]  # pyright: ignore[reportArgumentType]
    assert f'hardware="{cheapest.flavor.name}"' in problem.fix
    assert str(caught.value) in str(pickle.loads(pickle.dumps(caught.value)))


def test_what_no_machine_does_within_its_caps_gets_none() -> None:
    for hardware, code in (({"max_usd": 0.02}, "COST001"), ({"max_hours": 0.02}, "COST002")):
        made = plan({"hardware": hardware, "lora": {"r": 8}}, facts(LLAMA_8B))
        assert made.flavor is None
        assert made.choice is not None
        assert made.choice.cheapest is not None
        assert code in codes(made)
        assert not codes(made) & {"HW003", "HW004", "JOB001"}
        reasons = dict(made.choice.rejected)
        assert next(iter(hardware)) in reasons[made.choice.cheapest.flavor.name]
    with pytest.raises(hft.SpecError):
        hft.submit(made)


def test_a_budget_leads_to_a_cheaper_machine() -> None:
    free = hft.compare_flavors(sft(), facts=facts(QWEN_05B, CHATS))
    assert free.rows[0].usd is not None
    cap = free.rows[0].usd * 1.01
    made = plan({"hardware": {"max_usd": cap}})
    assert made.flavor == free.rows[0].flavor
    assert not codes(made)


@pytest.mark.parametrize(
    ("caps", "path"),
    [
        ({"max_usd": 1000, "max_hours": 0.05}, "hardware.max_hours"),
        ({"max_usd": 0.1, "max_hours": 10}, "hardware.max_usd"),
        ({"max_hours": 0.05}, "hardware.max_hours"),
        ({"max_usd": 0.1}, "hardware.max_usd"),
    ],
    ids=str,
)
def test_the_cap_that_leaves_no_time_to_start_is_named(caps: dict[str, float], path: str) -> None:
    spec = hft.Script("train.py", hardware={"flavor": "a100-large", **caps}, timeout="1h")
    (problem,) = [item for item in hft.check(spec, facts=facts()).problems if item.code == "JOB002"]
    assert problem.path == path


def test_caps_do_not_matter_on_this_machine() -> None:
    caps = {"max_usd": 0.01, "max_hours": 0.01}
    capped = hft.plan(sft(hardware=caps, max_length=2048), facts=facts(), backend="local")
    assert capped.problems == ()
    assert capped.timeout_seconds is None
