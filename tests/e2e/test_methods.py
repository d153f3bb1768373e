"""Every training method, really trained: the rendered script in a process of its own, on this machine's processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples import tiny
from tests.e2e.methods import EXPERIMENTAL, GROUP, STABLE, STEPS, Finished, Inputs, run_script


@pytest.fixture(scope="session")
def inputs(
    tiny_folder: Path, tiny_model: Path, tiny_reward_model: Path, tiny_data: Callable[[tiny.Format], Path]
) -> Inputs:
    return Inputs(tiny_model, tiny.make_model(tiny_folder / "teacher", seed=2), tiny_reward_model, tiny_data)


def check(run: Finished, *, first_step: int = 1) -> None:
    """It trained, evaluated once, saved after each step, and its metrics are tracked in their group."""
    (start,), (end,) = run.named("start"), run.named("end")
    assert (start["method"], start["device"]) == (run.method, "cpu")
    assert end["step"] == STEPS
    assert [event["step"] for event in run.metrics("loss") if "loss" in event["metrics"]] == [
        *range(first_step, STEPS + 1)
    ]
    assert [event["step"] for event in run.metrics("eval_")] == [STEPS]
    saved = [Path(event["path"]) for event in run.named("saved")]
    assert [path.name for path in saved] == [f"checkpoint-{step}" for step in range(first_step, STEPS + 1)]
    assert all((path / "trainer_state.json").is_file() for path in saved)
    metrics, config = run.tracked()
    assert {"train/loss", "eval/loss"} & set(metrics)
    assert config["_Group"] == GROUP


@pytest.mark.parametrize("method", [*STABLE, *EXPERIMENTAL])
def test_it_trains(method: str, inputs: Inputs, tmp_path: Path) -> None:
    run = run_script(inputs.fields(method), method, tmp_path)
    check(run)
    config = json.loads((run.output / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert (run.output / "tokenizer.json").is_file()
