"""What a run may cost and how long it may take: timeouts, caps, and what is refused."""

from __future__ import annotations

import ast
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.planning.choose import exceeded_caps, find_alternative
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.planning.timeout import LEAST_SECONDS
from hfjobs_trainer.planning.understand import understand
from hfjobs_trainer.specs.durations import format_duration
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
        ({"max_usd": 5}, "2h 1s", ["max_usd=5.05"]),
        ({"max_usd": 5, "max_hours": 1}, "90m", ["max_usd=5.0, max_hours=1.5"]),
        ({"max_usd": 0.1}, "1h", ["max_usd=2.5"]),
        ({"flavor": "auto", "max_usd": 0.1}, "1h", []),
    ],
    ids=str,
)
def test_a_cap_that_cuts_the_timeout_of_a_script_is_told_of(
    hardware: dict[str, Any], timeout: str, fixes: list[str]
) -> None:
    spec = hft.Script("train.py", hardware={"flavor": "a100-large", **hardware}, timeout=timeout)
    report = hft.check(spec, facts=facts())
    wanted = [f'hardware=hft.Hardware(flavor="a100-large", {fix})' for fix in fixes]
    assert [item.fix for item in report.problems if item.code == "COST005"] == wanted
    lacking = {item.code for item in report.unchecked}
    assert ("COST005" in lacking) is ("flavor" in hardware)


def test_what_a_cap_that_cuts_the_timeout_must_be_is_of_all_machines() -> None:
    hardware = {"flavor": "a100-large", "nodes": 2, "max_usd": 5}
    unknown = Facts(account=ME)
    made = plan({"hardware": hardware, "timeout": "2h", "max_steps": 10}, unknown)
    (problem,) = [item for item in made.problems if item.code == "COST005"]
    fix = 'hardware=hft.Hardware(flavor="a100-large", nodes=2, max_usd=10.0)'
    assert (problem.fix, problem.severity) == (fix, "warning")
    assert "COST005" not in codes(plan({"hardware": hardware, "timeout": "1h", "max_steps": 10}, unknown))
    # where there is an estimate, the cap is held against that
    assert "COST005" not in codes(plan({"hardware": hardware, "timeout": "2h", "max_steps": 10}))


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
    assert problem.fix.startswith(f'hardware=hft.Hardware(flavor="{cheapest.flavor.name}", max_usd=')
    assert str(caught.value) in str(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize(
    "hardware",
    [
        {"flavor": "h200x8", "max_usd": 2, "max_hours": 2},
        {"flavor": "h200x8", "max_usd": 2, "max_hours": 0.5, "num_gpus": 1},
        {"flavor": "h200x8", "max_usd": 0.2, "max_hours": 0.5, "strategy": "single"},
        {"flavor": "h200x8", "max_usd": 0.2, "max_hours": 0.02},
        {"max_usd": 0.2, "max_hours": 10},
    ],
    ids=str,
)
def test_the_alternative_holds_as_it_is_typed(hardware: dict[str, Any]) -> None:
    made = plan({"hardware": hardware, "max_length": 2048})
    (problem,) = [found for found in made.problems if found.code == "COST001"]
    call = ast.parse(problem.fix.removeprefix("hardware="), mode="eval").body
    assert isinstance(call, ast.Call)
    other = hft.Hardware(**{word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg})
    assert other.model_dump(exclude_unset=True).keys() == {"flavor", *hardware}
    again = plan({"hardware": other, "max_length": 2048})
    assert not codes(again) & {"COST001", "COST002"}
    assert f"; {other.flavor} takes about $" in problem.why


def test_an_alternative_is_within_all_caps_where_one_is() -> None:
    cheapest, *others = (row for row in hft.compare_flavors(sft(), facts=facts()) if row.why_not is None)
    assert cheapest.hours is not None
    faster = min(
        (row.usd.expected, row.hours) for row in others if row.usd and row.hours and row.hours < cheapest.hours
    )
    hardware = {"flavor": "h200x8", "max_usd": faster[0] * 1.01, "max_hours": (faster[1] + cheapest.hours) / 2}
    spec = sft(hardware=hardware)
    found = find_alternative(understand(spec, facts()), snapshot())
    assert found is not None
    assert found.flavor != cheapest.flavor
    assert exceeded_caps(spec.hardware, found.duration) == {}


def spread(known: hft.Plan) -> tuple[float, float]:
    assert known.estimate is not None
    assert known.estimate.seconds is not None
    return known.estimate.seconds.expected, known.estimate.seconds.high


def test_a_limit_within_the_range_of_the_estimate_is_told_of() -> None:
    expected, high = spread(plan({"hardware": "h200"}))
    between = (expected + high) / 2
    price = 5.0 / 3600
    for path, fields in (
        ("timeout", {"hardware": "h200", "timeout": int(between), "timeout_padding": 0}),
        ("hardware.max_hours", {"hardware": {"flavor": "h200", "max_hours": between / 3600}}),
        ("hardware.max_usd", {"hardware": {"flavor": "h200", "max_usd": between * price}, "timeout": "20h"}),
    ):
        made = plan(fields)
        assert made.flavor is not None
        assert made.flavor.usd_per_hour == 5.0
        assert made.timeout_seconds is not None
        (problem,) = [found for found in made.problems if found.code.startswith("COST")]
        assert (problem.code, problem.path) == ("COST003", path)
        assert problem.why.endswith("so it may not finish")
        assert format_duration(made.timeout_seconds) in problem.why
    for fields in (
        {"hardware": "h200"},
        {"hardware": "h200", "timeout": int(high) + 1, "timeout_padding": 0},
        {"hardware": {"flavor": "h200", "max_hours": high / 3600 * 1.01, "max_usd": high * price + 1}},
    ):
        assert not [found for found in plan(fields).problems if found.code.startswith("COST")]


def test_a_cap_that_even_the_expected_run_exceeds_is_told_of_once() -> None:
    made = plan({"hardware": {"flavor": "h200", "max_hours": 0.1}, "timeout": "20h"})
    assert [found.code for found in made.problems if found.code.startswith("COST")] == ["COST002"]


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
    cap = free.rows[0].usd.expected * 1.01
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


@pytest.mark.parametrize("cap", ["max_usd", "max_hours"])
def test_a_raised_cap_leaves_a_short_run_time_to_start(cap: str) -> None:
    hardware = {"flavor": "l4x1", cap: 0.01}
    known = facts(dataset=replace(CHATS, num_rows=50))
    made = plan({"hardware": hardware, "num_train_epochs": 1}, known)
    (problem,) = [found for found in made.problems if found.path == f"hardware.{cap}" and found.severity == "error"]
    assert problem.code in ("COST001", "COST002")
    mended = made.spec.replace(**eval(f"dict({problem.fix})", {"hft": hft}))  # noqa: S307 - the package wrote it
    assert not codes(hft.plan(mended, facts=known)) & {"COST001", "COST002", "JOB002"}


def test_a_raised_cap_is_for_the_machine_that_it_was_raised_for() -> None:
    made = plan({"hardware": {"max_usd": 1, "prefer": "fastest"}})
    (problem,) = [found for found in made.problems if found.code == "COST003"]
    mended = made.spec.replace(**eval(f"dict({problem.fix})", {"hft": hft}))  # noqa: S307 - the package wrote it
    assert mended.hardware.prefer == "fastest"
    assert "COST003" not in {found.code for found in plan({"hardware": mended.hardware}).problems}
