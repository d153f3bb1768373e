"""Datasets in the shapes in which they are found: planned and trained without a word about their columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gathering.shaped_rows import AS_THEY_ARE, SHAPES, TALK, Row

import hfjobs_trainer as hft
from tests.e2e.methods import Finished, Inputs, Warm

TRAINED = (
    "conversations of role and content",
    "messages as JSON",
    "weights of 0",
    "alpaca",
    "ultrafeedback",
    "ultrafeedback, with messages",
    "ultrafeedback for a reward model",
    "ultrafeedback for KTO",
    "preference rows of OpenAI",
    "a conversation to continue",
)
FEW: dict[str, dict[str, Any]] = {
    "grpo": {"reward_funcs": "think_format_reward", "num_generations": 2, "max_completion_length": 4}
}


def train(
    inputs: Inputs, warm: Warm, folder: Path, method: str, rows: Sequence[Row], **fields: Any
) -> tuple[hft.Plan, Finished]:
    folder.mkdir(exist_ok=True)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"max_steps": 1, "logging_steps": 1, "per_device_train_batch_size": 2, "tracking": {"report_to": "none"}}
    spec = {"method": method, "model": str(inputs.model), "dataset": str(path), **common, **FEW.get(method, {})}
    plan = hft.plan(spec | fields, offline=True, backend="local")
    script = folder / "train.py"
    script.write_text(plan.script)
    return plan, warm.run_file(method, script)


@pytest.mark.parametrize("name", TRAINED)
def test_known_shapes_are_trained_on(inputs: Inputs, warm: Warm, tmp_path: Path, name: str) -> None:
    shaped = SHAPES[name]
    plan, done = train(inputs, warm, tmp_path, shaped.method, shaped.rows * 4)
    assert done.named("end")[0]["step"] == 1
    told = [item for item in plan.decisions if item.path.startswith("dataset")]
    assert told
    assert all(item.why in str(plan) for item in told)


def test_no_text_is_lost(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    """The roles of ShareGPT are nothing to a chat template: without their text, fewer tokens would be trained on."""
    tokens = [
        train(inputs, warm, tmp_path / str(index), "sft", [row] * 4)[1].metrics("num_tokens")[0]["metrics"][
            "num_tokens"
        ]
        for index, row in enumerate([SHAPES["ShareGPT"].rows[0], {"messages": TALK}])
    ]
    assert tokens[0] == tokens[1] > 0


def test_what_is_not_converted_really_fails(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    """The script for rows that were not looked at does nothing to them."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SHAPES["alpaca"].rows * 4))
    spec = hft.SFT(model=str(inputs.model), dataset=str(path), max_steps=1, tracking={"report_to": "none"})
    script = tmp_path / "train.py"
    script.write_text(hft.render(spec, facts=hft.Facts(), backend="local"))
    with pytest.raises(AssertionError, match="KeyError"):
        warm.run_file("sft", script)


def test_parts_of_a_mixture_are_converted_each(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(row) + "\n" for row in AS_THEY_ARE["messages"][1] * 4))
    path = str(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").touch()
    plan, done = train(inputs, warm, tmp_path, "sft", SHAPES["ShareGPT"].rows * 4, dataset=[path, str(other)])
    assert done.named("end")[0]["step"] == 1
    assert [item.path for item in plan.decisions if item.path.startswith("dataset")] == ["dataset"]
