"""Attempts, SSH, ports and resource groups: what they cost, what is shown, and what is asked for."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from tests.planning.test_budget import plan, spread
from tests.planning.test_machine import facts, sft

GROUP = "66670e5163145ca562cb1988"
ALL: dict[str, Any] = {"attempts": 2, "ssh": True, "expose": [8000, 9000, 8000], "resource_group_id": GROUP}


def on(flavor: str, **hardware: Any) -> dict[str, Any]:
    return {"hardware": {"flavor": flavor, **hardware}, "timeout": "3h"}


def test_a_plan_shows_each_with_what_it_costs() -> None:
    shown = str(plan(on("a100-large", **ALL)))
    assert "$2.51/h" in shown
    # 3 h and 25% at $2.51, twice
    assert "timeout 3h45m: at most $18.82 in 2 attempts" in shown
    for line in (
        "  attempts       2: after a failure the training goes on at the last checkpoint, up to 2 times the money",
        "  SSH            ssh JOB@ssh.hf.jobs with a key of the account; a session does not keep the job running",
        "  ports          8000, 9000, at https://JOB--PORT.hf.jobs with a token that may read the job: $0.01/h",
        f"  resource group {GROUP}, whose spending limit applies",
    ):
        assert line in shown
    plain = str(plan(on("a100-large")))
    assert not [word for word in ("attempts", "SSH", "ports", "resource group") if f"  {word}" in plain]


def test_every_node_has_its_proxy() -> None:
    shown = str(plan(on("a100-large", nodes=2, expose=8000)))
    assert "$5.02/h" in shown
    assert "$0.02/h" in shown


def test_they_are_asked_for_on_jobs_only() -> None:
    asked = plan(on("a100-large", **ALL)).request
    assert (asked.attempts, asked.ssh, asked.expose, asked.resource_group_id) == (2, True, (8000, 9000), GROUP)
    local = hft.plan(sft(**on("a100-large", **ALL)), facts=facts(), backend="local")
    assert replace(local.request, script="") == replace(
        hft.plan(sft(**on("a100-large")), facts=facts(), backend="local").request,
        script="",
        labels=local.request.labels,
    )


def test_the_script_keeps_them_in_its_spec_but_its_table_has_no_key_for_them(tmp_path: Path) -> None:
    made = plan(on("a100-large", **ALL))
    path = tmp_path / "train.py"
    path.write_text(made.script)
    again = hft.load(str(path))
    assert again == made.spec
    header = made.script.split("# /// script\n")[1].split("# ///\n")[0]
    table = tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in header.splitlines()))
    known = {"image", "flavor", "python", "timeout", "name", "namespace", "network_group", "env", "secrets", "labels"}
    assert set(table["tool"]["hf-jobs"]) <= known


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("expose", [[], [8000]])
def test_the_bill_of_all_attempts_cannot_exceed_the_cap(attempts: int, expose: list[int]) -> None:
    made = plan({**on("a100-large", max_usd=7.77, attempts=attempts, expose=expose), "max_steps": 10})
    assert made.timeout_seconds is not None
    minutes = made.timeout_seconds / 60
    price = 2.51 if expose else 2.5
    assert minutes * attempts * price / 60 <= 7.77 < (minutes + 1) * attempts * price / 60
    (decision,) = [item for item in made.decisions if item.path == "timeout"]
    assert (f", {attempts} attempts" in decision.why) == (attempts > 1)


def test_the_hours_of_all_attempts_are_capped() -> None:
    made = plan({**on("a100-large", max_hours=3.0, attempts=4), "max_steps": 10})
    assert made.timeout_seconds == 45 * 60


def test_a_budget_is_for_all_attempts() -> None:
    expected, high = spread(plan({"hardware": "h200"}))
    usd = expected * 5 / 3600
    once = plan({"hardware": {"flavor": "h200", "max_usd": usd * 1.5}})
    assert "COST001" not in [found.code for found in once.problems]
    twice = plan({"hardware": {"flavor": "h200", "max_usd": usd * 1.5, "attempts": 2}})
    (problem,) = [found for found in twice.problems if found.code == "COST001"]
    assert ", 2 times), above max_usd=" in problem.why
    between = plan({"hardware": {"flavor": "h200", "max_usd": (expected + high) * 5 / 3600, "attempts": 2}})
    (problem,) = [found for found in between.problems if found.code == "COST003"]
    raised = float(problem.fix.split("max_usd=")[1].split(",")[0])
    again = plan({"hardware": {"flavor": "h200", "max_usd": raised, "attempts": 2}})
    assert not [found for found in again.problems if found.code.startswith("COST")]


def test_a_cap_that_cuts_a_timeout_counts_the_attempts() -> None:
    fields: dict[str, Any] = {"script": "https://x/train.py", "timeout": "3h"}
    hardware: dict[str, Any] = {"flavor": "a10g-large", "attempts": 2, "max_usd": 8.0, "max_hours": 5.0}
    found = {
        problem.path: problem.fix
        for problem in hft.check({"method": "script", **fields, "hardware": hardware}, facts=hft.Facts()).problems
        if problem.code == "COST005"
    }
    fix = 'hardware=hft.Hardware(flavor="a10g-large", max_usd=9.0, max_hours=6.0, attempts=2)'
    assert found == {"hardware.max_hours": fix, "hardware.max_usd": fix}


@pytest.mark.parametrize("given", [8000, [8000], (8000,)])
def test_ports_have_one_form(given: Any) -> None:
    assert hft.Hardware(expose=given) == hft.Hardware(expose=[8000])


@pytest.mark.parametrize("fields", [{"attempts": 0}, {"expose": ["8000"]}, {"ssh": 1}, {"resource_group_id": 1}])
def test_what_is_no_value_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(hft.SpecError, match=next(iter(fields))):
        hft.Hardware(**fields)


def test_more_than_twenty_ports_are_too_many() -> None:
    made = plan(on("a100-large", expose=list(range(8000, 8021))))
    (problem,) = [found for found in made.problems if found.code == "JOB008"]
    assert problem.why == "21 ports, of which Jobs exposes 20 at most"
