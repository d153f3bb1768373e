"""Specs with the fields that every spec needs, and the problems of those that cannot be built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.registry import METHODS

GIVEN: Mapping[str, Any] = {
    "model": "me/model",
    "dataset": "me/data",
    "reward_funcs": "think_format_reward",
    "reward_model": "me/reward",
    "teacher_model": "me/teacher",
}
"""Every field that some method needs."""


def required(method: str, given: Mapping[str, Any] = GIVEN) -> dict[str, Any]:
    """Those of the fields that the method has."""
    return {name: value for name, value in given.items() if name in METHODS[method].model_fields}


def problems_of(method: str, /, **fields: Any) -> dict[str, Problem]:
    with pytest.raises(SpecError) as raised:
        METHODS[method](**required(method) | fields)
    return {problem.path: problem for problem in raised.value.problems}


def sft(**fields: Any) -> hft.SFT:
    return hft.SFT(**{"model": "me/model", "dataset": "me/data", **fields})
