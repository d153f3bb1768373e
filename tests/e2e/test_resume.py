"""A run that is killed and resumed equals one that nothing stopped: ``python -m benchmarks.resume`` tries far more."""

from __future__ import annotations

from pathlib import Path

import pytest

import hfjobs_trainer as hft
from tests.e2e.kill_points import CASES, points_of
from tests.e2e.killed import Case, Place, Trial, Verdict, differences, make_inputs
from tests.e2e.methods import Inputs, Warm

KILLED: list[tuple[str, Place, tuple[str, ...]]] = [
    ("sft lora", "mount", ("in step 5", "optimizer half written", "third file half copied")),
    ("dpo lora", "mount", ("in the evaluation of step 3", "old copy half removed", "the last 3 writes are lost")),
    ("dpo synced", "mount", ("copied, no manifest",)),
    ("kto", "disk", ("manifest half written", "model half saved")),
    ("grpo iterating", "disk", ("in step 5", "weights half written")),
]


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Models with dropout."""
    return make_inputs(tmp_path_factory.mktemp("dropping"))


@pytest.mark.torch
@pytest.mark.parametrize(("name", "place", "points"), KILLED, ids=[f"{name}, {place}" for name, place, _ in KILLED])
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    name: str, place: Place, points: tuple[str, ...], dropping: Inputs, warm: Warm, tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.name == name)
    trial = Trial(case, dropping, warm, tmp_path, place)
    verdicts = [trial.kill(point) for point in points_of(case, place) if point.name in points]
    assert [verdict for verdict in verdicts if not verdict.is_equal] == []
    assert len(verdicts) == len(points)


def test_another_run_is_told_apart(dropping: Inputs, warm: Warm, tmp_path: Path) -> None:
    """What compares the runs finds two that differ by their seed alone."""
    one, other = (
        Trial(Case("sft", "sft", {"seed": seed}), dropping, warm, tmp_path / str(seed), "disk").unbroken
        for seed in (1, 2)
    )
    (difference,) = differences(one, other, "before")
    assert difference.startswith("before, train step 1: ")
    assert one.digest != other.digest


def test_a_run_that_was_not_killed_is_not_equal() -> None:
    assert not Verdict("sft", "in step 5", reached=False).is_equal
    assert not Verdict("sft", "in step 5", reached=True, differences=("weights",)).is_equal


def test_ppo_says_that_it_cannot() -> None:
    fields = {"method": "ppo", "model": "org/model", "reward_model": "org/reward", "dataset": "org/data"}
    asked = {**fields, "resume_from_checkpoint": "out/checkpoint-1"}
    refused = hft.check(asked, offline=True, backend="local").problems
    assert "PPOTrainer cannot resume" in next(item.why for item in refused if item.path == "resume_from_checkpoint")
    plan = hft.plan({**fields, "hardware": "a100-large", "timeout": "3h"}, offline=True)
    (decision,) = [item for item in plan.decisions if item.path == "output.checkpoints"]
    assert (decision.value, decision.why) == (None, "the trainer of PPO cannot go on from a checkpoint")
    assert "Checkpoints(" not in plan.script
