"""What a script holds its first steps against is what was planned for its machine, and for it alone."""

from __future__ import annotations

import ast
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts
from tests.planning.known_models import QWEN_05B
from tests.planning.test_machine import LENGTHS, facts, sft


def pace_in(script: str) -> dict[str, Any]:
    """Keyword arguments of the script's ``check_pace``."""
    (call,) = [
        node
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check_pace"
    ]
    return {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}


def test_the_numbers_are_those_of_the_estimate() -> None:
    made = hft.plan(sft(hardware={"flavor": "a10g-large", "max_usd": 40, "attempts": 2}), facts=facts(QWEN_05B))
    pace, estimate = pace_in(made.script), made.estimate
    assert estimate is not None
    assert estimate.duration is not None
    assert estimate.memory is not None
    duration = estimate.duration
    assert pace["flavor"] == "a10g-large"
    assert pace["seconds_per_step"] == pytest.approx(
        (duration.parts["training"].low / duration.steps, duration.parts["training"].high / duration.steps), rel=0.01
    )
    speed = duration.tokens_per_second
    assert pace["tokens_per_second"] == pytest.approx((speed.low, speed.high), rel=0.01)
    low, high = pace["memory_gib"]
    assert low == 0 < estimate.memory.allocated_gib < high < estimate.memory.allocated_gib * 1.3 + 1
    rest = duration.parts["checkpoints"].expected + duration.parts["push"].expected
    assert pace["rest"] == pytest.approx(rest, abs=1)
    assert (pace["usd_per_hour"], pace["max_usd"]) == (1.5, 20)
    assert "stop_if_over" not in pace


def test_writing_answers_is_part_of_a_step() -> None:
    prompts = DatasetFacts(exists=True, columns=("prompt",), num_rows=1000, lengths=LENGTHS)
    fields: dict[str, Any] = {"reward_funcs": "think_format_reward", "max_steps": 50, "hardware": "a100-large"}
    spec = hft.GRPO(model="me/model", dataset="me/data", output={"hub_model_id": "me/out"}, **fields)
    made = hft.plan(spec, facts=facts(QWEN_05B, prompts))
    estimate, pace = made.estimate, pace_in(made.script)
    assert estimate is not None
    assert estimate.duration is not None
    parts = estimate.duration.parts
    most = (parts["training"].high + parts["generation"].high) / estimate.duration.steps
    assert pace["seconds_per_step"][1] == pytest.approx(most, rel=0.01)
    # TRL counts tokens of answers as they are written, the plan those that are trained
    assert "tokens_per_second" not in pace


def test_on_a_machine_of_ones_own_nothing_was_planned() -> None:
    assert pace_in(hft.render(sft(), facts=facts(QWEN_05B), backend="local")) == {}


def test_what_is_unknown_is_left_out() -> None:
    assert pace_in(hft.render(sft(hardware="l4x1"), offline=True)) == {"flavor": "l4x1", "usd_per_hour": 0.8}


def test_whether_it_stops_travels_wherever_it_runs() -> None:
    spec = sft(hardware={"flavor": "l4x1", "stop_if_over": True})
    assert pace_in(hft.render(spec, offline=True))["stop_if_over"] is True
    assert pace_in(hft.render(spec, facts=facts(), backend="local")) == {"stop_if_over": True}
