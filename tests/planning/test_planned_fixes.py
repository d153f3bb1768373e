"""What a script says to try where memory or disk turn out too small: literals that the planner stands behind."""

from __future__ import annotations

import ast
from typing import Any

import pytest

import hfjobs_trainer as hft
from tests.planning.known_models import QWEN_7B
from tests.planning.test_machine import facts, sft


def fixes_in(script: str) -> dict[str, list[str]]:
    """The literal that ``tell_failure`` is given; nothing if there is none."""
    (hook,) = [
        node.value
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "sys.excepthook"
    ]
    given: list[ast.keyword] = hook.keywords if isinstance(hook, ast.Call) else []
    return next((ast.literal_eval(item.value) for item in given if item.arg == "fixes"), {})


LORA: dict[str, Any] = {"lora": {"r": 8}}


@pytest.mark.parametrize(
    ("fields", "smaller"),
    [
        ({"per_device_train_batch_size": 8}, "per_device_train_batch_size=4 with gradient_accumulation_steps=2"),
        ({"per_device_train_batch_size": 8, "global_batch_size": 16}, "per_device_train_batch_size=4"),
        ({"per_device_train_batch_size": 1}, None),
        ({"per_device_train_batch_size": 3}, None),
    ],
)
def test_fewer_rows_at_once_and_a_larger_gpu(fields: dict[str, Any], smaller: str | None) -> None:
    made = hft.plan(sft(hardware="a10g-large", **LORA, **fields), facts=facts(QWEN_7B))
    *rows, larger = fixes_in(made.script)["GPU memory"]
    assert rows == ([smaller] if smaller else [])
    flavor = larger.removeprefix('hardware="').removesuffix('"')
    again = hft.plan(sft(hardware=flavor, **LORA, **fields), facts=facts(QWEN_7B))
    assert made.estimate is not None
    assert again.estimate is not None
    assert again.estimate.verdict == "fits"
    assert (again.estimate.usable_gib or 0) > (made.estimate.usable_gib or 0)


def test_fewer_checkpoints_where_several_are_kept() -> None:
    made = hft.plan(sft(hardware="a100-large", **LORA), facts=facts(QWEN_7B))
    assert fixes_in(made.script)["disk space"] == ["save_total_limit=1"]
    for fields in ({"save_total_limit": 1}, {"save_strategy": "no"}):
        made = hft.plan(sft(hardware="a100-large", **LORA, **fields), facts=facts(QWEN_7B))
        assert "disk space" not in fixes_in(made.script)


def test_of_what_is_unknown_nothing_is_said() -> None:
    assert fixes_in(hft.plan(sft(hardware="a10g-large"), facts=hft.Facts()).script) == {}
