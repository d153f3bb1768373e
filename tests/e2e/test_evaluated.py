"""A run says what it changed: it evaluates the untouched model and the trained one, also when it is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.methods import Finished, Inputs, Warm

pytestmark = pytest.mark.torch


def told(run: Finished) -> list[tuple[str, int, float]]:
    """When each evaluation of the comparison was, at which step, and its loss."""
    return [(each["when"], each["step"], each["metrics"]["eval_loss"]) for each in run.named("evaluated")]


def history(folder: Path) -> list[dict[str, Any]]:
    """What the trainer logged until a checkpoint, without what TRL does not resume, and times."""
    entries = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    timed = ("seconds", "runtime", "per_second", "num_tokens", "total_flos", "train_loss")
    return [{key: value for key, value in entry.items() if not key.endswith(timed)} for entry in entries]


def test_the_first_evaluation_is_that_of_the_untouched_model(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    # no evaluation is due at the last step
    fields = inputs.fields("sft", eval_on_start=True, max_steps=3, eval_steps=2, report_to="none")

    whole = warm.run("sft", fields, tmp_path / "whole")
    checkpoint = whole.output / "checkpoint-1"
    resumed = warm.run("sft", fields | {"resume_from_checkpoint": str(checkpoint)}, tmp_path / "resumed")

    (before, first, untouched), (after, last, trained) = told(whole)
    assert (before, first, after, last) == ("before", 0, "after", 3)
    assert trained < untouched
    # it is not evaluated anew, when it is no longer untouched
    assert told(resumed) == [("after", 3, trained)]
    assert history(resumed.output / "checkpoint-3") == history(whole.output / "checkpoint-3")
    assert [entry["step"] for entry in history(whole.output / "checkpoint-3") if "eval_loss" in entry] == [0, 2, 3]
    # a resumed run has taken what both processes took
    spent = [entry["seconds"] for entry in json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]]
    state = json.loads((resumed.output / "checkpoint-3" / "trainer_state.json").read_text())
    assert spent[-1] < state["log_history"][-1]["seconds"]


def test_the_best_model_is_the_one_that_is_compared(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    worse: dict[str, Any] = {"learning_rate": 0.1, "lr_scheduler_type": "constant", "load_best_model_at_end": True}
    fields = inputs.fields("sft", eval_on_start=True, max_steps=3, eval_steps=1, report_to="none", **worse)

    run = warm.run("sft", fields, tmp_path / "run")

    losses = {each["step"]: each["metrics"]["eval_loss"] for each in run.metrics("eval_loss")}
    best = min(losses.keys() - {0}, key=losses.__getitem__)
    assert told(run)[-1] == ("after", best, losses[best])
