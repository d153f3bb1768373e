"""Rewards with all that they lean on, really trained with: helpers, constants, closures, partials, objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from specs.own_code import rewards as own

import hfjobs_trainer as hft
from tests.e2e.methods import STEPS, Warm

GAP = "\n"
ONLINE = {"num_generations", "max_completion_length"}


def common(model: Path, dataset: Path) -> dict[str, Any]:
    return {
        "model": str(model),
        "dataset": str(dataset),
        "max_steps": STEPS,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "num_generations": 2,
        "max_completion_length": 4,
        "save_strategy": "no",
        "seed": 7,
        "tracking": hft.Tracking(report_to="none"),
    }


def generated(completions: list[str], **kwargs: Any) -> Any:
    for completion in completions:
        yield float(len(completion))


def test_grpo_logs_each_reward_under_its_own_name(
    warm: Warm, tiny_model: Path, tiny_data: Callable[[str], Path], tmp_path: Path
) -> None:
    rewards = [own.reward, own.strict, own.half, own.make(2.0), own.scorer, own.Length(3), own.slow, generated]
    fields = common(tiny_model, tiny_data("prompt_only")) | {"reward_funcs": rewards}
    run = warm.run("grpo", fields, tmp_path)
    (end,) = run.named("end")
    assert end["step"] == STEPS
    metrics = run.metrics("rewards/")[-1]["metrics"]
    names = [item.name for item in hft.GRPO(**fields).reward_funcs if not isinstance(item, str)]
    assert names == ["reward", "strict", "half", "weighted", "scorer", "length", "slow", "generated"]
    assert {f"rewards/{name}/mean" for name in names} <= metrics.keys()
    assert metrics["rewards/weighted/mean"] == 4 * metrics["rewards/half/mean"]
    assert metrics["rewards/reward/mean"] == metrics["rewards/strict/mean"] + 7.0


def as_question(row: dict[str, Any]) -> str:
    return f"Q: {row['question']}{GAP}A: {row['answer']}"


def test_sft_trains_on_the_text_that_a_function_makes(warm: Warm, tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"question": f"What is {index} + 1?", "answer": str(index + 1)} for index in range(8)]
    seen: list[Any] = []
    for name, data, more in (
        ("made", rows, {"formatting_func": as_question}),
        ("written", [{"text": as_question(row)} for row in rows], {}),
    ):
        (tmp_path / name).mkdir()
        dataset = tmp_path / name / "rows.jsonl"
        dataset.write_text("".join(json.dumps(row) + "\n" for row in data))
        fields = common(tiny_model, dataset) | more
        run = warm.run("sft", {key: value for key, value in fields.items() if key not in ONLINE}, tmp_path / name)
        seen.append([item["metrics"]["loss"] for item in run.metrics("loss")])
    assert seen[0] == seen[1]
    assert "        formatting_func=as_question,\n" in (tmp_path / "made" / "script.py").read_text()
    assert hft.load(str(tmp_path / "made" / "script.py")).to_dict()["formatting_func"]["name"] == "as_question"
