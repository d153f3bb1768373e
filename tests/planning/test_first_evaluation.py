"""The untouched model is evaluated where that costs less than 3% of the run, and where nothing is unknown or said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from tests.planning.test_plan import KNOWN, SFT

EVALUATED: dict[str, Any] = {"eval_fraction": 0.01, "eval_strategy": "steps", "eval_steps": 100, "hardware": "l4x1"}
CALLBACKS = "callbacks=[progress_callback(started), evaluation_callback()]"


def planned(facts: Facts = KNOWN, backend: str = "hub", **fields: Any) -> hft.Plan:
    return hft.plan({**SFT, **EVALUATED, **fields}, facts=facts, backend=backend)


def test_a_cheap_evaluation_comes_first() -> None:
    plan = planned()

    (decision,) = (item for item in plan.decisions if item.path == "eval_on_start")
    assert decision.value is True
    assert decision.why.endswith("of the run")
    assert "        eval_steps=100,\n        eval_on_start=True,\n" in plan.script
    assert CALLBACKS in plan.script


@pytest.mark.parametrize(
    "fields",
    [
        {"eval_fraction": 0.5},  # half as many rows again, twice
        {"eval_on_start": False},
        {"eval_strategy": "no"},
        {"max_steps": 5, "eval_fraction": 0.3},
    ],
)
def test_none_comes_first_where_it_is_dear_or_not_wanted(fields: dict[str, Any]) -> None:
    plan = planned(**fields)

    assert "eval_on_start=True" not in plan.script
    assert CALLBACKS not in plan.script
    assert "eval_on_start" not in {item.path for item in plan.decisions}


def test_what_the_user_asks_for_is_no_decision_but_is_compared() -> None:
    plan = planned(eval_on_start=True, eval_fraction=0.5)

    assert "eval_on_start" not in {item.path for item in plan.decisions}
    assert CALLBACKS in plan.script


def test_nothing_is_decided_where_the_cost_is_unknown() -> None:
    unknown = replace(KNOWN, dataset=replace(KNOWN.dataset, num_rows=None))

    for plan in (planned(unknown), planned(Facts()), planned(backend="local")):
        assert "eval_on_start" not in plan.script


def test_a_trainer_that_cannot_is_not_asked() -> None:
    prompts = replace(KNOWN.dataset, columns=("prompt",), conversational=False)
    facts = replace(KNOWN, dataset=prompts, reward_model=KNOWN.model)
    asked: dict[str, Any] = {"reward_model": "me/scorer", "stop_token": "eos"}

    assert "eval_on_start" not in planned(facts, method="ppo", **asked).script
    assert "eval_on_start" in planned(facts, method="grpo", reward_funcs="think_format_reward").script
