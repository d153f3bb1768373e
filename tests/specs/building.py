"""Specs with the fields that every spec needs, and the problems of those that cannot be built."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.registry import METHODS


def required(method: str) -> dict[str, Any]:
    known = {"reward_funcs": "think_format_reward", "reward_model": "me/reward", "teacher_model": "me/teacher"}
    needed = {name: value for name, value in known.items() if name in METHODS[method].model_fields}
    return {"model": "me/model", "dataset": "me/data", **needed}


def problems_of(method: str, /, **fields: Any) -> dict[str, Problem]:
    with pytest.raises(SpecError) as raised:
        METHODS[method](**required(method) | fields)
    return {problem.path: problem for problem in raised.value.problems}


def sft(**fields: Any) -> hft.SFT:
    return hft.SFT(**{"model": "me/model", "dataset": "me/data", **fields})
