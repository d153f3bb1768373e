"""Every script ends with a word on whether anything was trained, and an online one asks first whether it can."""

from __future__ import annotations

import ast
from typing import Any

import pytest

import hfjobs_trainer as hft

NEEDED: dict[str, Any] = {
    "reward_funcs": "think_format_reward",
    "reward_model": "me/reward-model",
    "teacher_model": "me/teacher",
}


def calls(method: str, **fields: Any) -> list[str]:
    """The functions that ``main`` calls on the trainer or with it, in their order."""
    spec = hft.METHODS[method]
    needed = {name: value for name, value in NEEDED.items() if name in spec.model_fields}
    text = hft.render(spec(model="me/model", dataset="me/data", **needed, **fields), backend="local", offline=True)
    main = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "main")
    found = [node.value for node in main.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return [ast.unparse(call.func) for call in found if "trainer" in ast.unparse(call)]


@pytest.mark.parametrize("method", hft.METHODS)
def test_a_run_without_a_step_fails(method: str) -> None:
    order = calls(method)
    trained = order.index("train")
    assert set(order[trained + 1 :]) & {"trainer.save_model", "push"}


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_enough_prompts_are_asked_for_before_training(method: str) -> None:
    order = calls(method)
    assert order.index("require_prompts") < order.index("train")
