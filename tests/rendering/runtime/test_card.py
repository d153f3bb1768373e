"""Evaluations are compared, and the loss is drawn, whatever was logged."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from hfjobs_trainer.rendering.runtime.card import draw_loss
from hfjobs_trainer.rendering.runtime.evaluations import compare_evaluations

LOG: list[dict[str, Any]] = [
    {"step": 0, "eval_loss": 2.0, "eval_runtime": 1.0, "seconds": 9.0},
    {"step": 5, "loss": 1.8},
    {"step": 5, "eval_loss": 1.2, "eval_samples_per_second": 3.0},
    {"step": 5, "eval_margin": 0.5},
    {"step": 9, "eval_loss": 1.5},
    {"step": 9, "train_runtime": 4.0},
]


def compared(log: list[dict[str, Any]], *, best: int | None = None) -> Any:
    args = SimpleNamespace(load_best_model_at_end=best is not None)
    return compare_evaluations(args, SimpleNamespace(log_history=log, best_global_step=best))


def test_the_first_evaluation_is_compared_with_that_of_the_model_that_is_kept() -> None:
    assert compared(LOG) == (9, {"eval_loss": 2.0}, {"eval_loss": 1.5})
    assert compared(LOG, best=5) == (5, {"eval_loss": 2.0}, {"eval_loss": 1.2, "eval_margin": 0.5})
    assert compared(LOG[1:]) == (9, {}, {"eval_loss": 1.5})


@pytest.mark.parametrize("log", [[], [{"step": 3, "train_runtime": 1.0}]])
def test_there_may_be_none(log: list[dict[str, Any]]) -> None:
    assert compared(log) == (0, {}, {})


def points(losses: list[Any]) -> list[tuple[float, float]]:
    picture = ET.fromstring(draw_loss([{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]))
    (line,) = picture.iter("{http://www.w3.org/2000/svg}polyline")
    pairs = (place.split(",") for place in line.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def test_a_loss_that_falls_goes_down_on_the_picture() -> None:
    assert points([4.0, 3.0, 2.0]) == [(200.0, 0.0), (400.0, 140.0), (600.0, 280.0)]


def test_what_is_no_number_is_left_out() -> None:
    assert len(points([4.0, math.nan, math.inf, 2.0])) == 2
    assert points([]) == []
    assert points([1.0]) == [(600.0, 0.0)]
