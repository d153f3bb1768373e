"""Functions that make rows, in scripts that really train."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.pages import blocks, run
from tests.e2e.methods import Inputs, Warm


def to_chat(row: dict[str, Any]) -> dict[str, Any] | list[dict[str, Any]] | None:
    """One row, two, or none."""
    if row["answer"] is None:
        return None
    number = re.sub(r".*####", "", row["answer"]).strip()
    said = [
        {"role": "system", "content": "Answer with a number alone."},
        {"role": "user", "content": row["question"]},
        {"role": "assistant", "content": number},
    ]
    return [{"messages": said}, {"messages": said[1:]}] if row["twice"] else {"messages": said}


ROWS = [
    {"question": "1 + 1?", "answer": "One and one. #### 2", "twice": False},
    {"question": "Nothing?", "answer": None, "twice": False},
    {"question": "2 + 2?", "answer": "#### 4", "twice": True},
] * 4


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_are_made_before_all_else(inputs: Inputs, warm: Warm, tmp_path: Path, streaming: bool) -> None:
    place = tmp_path / "rows.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    data = hft.Dataset(id=str(place), map=to_chat, num_samples=6, streaming=streaming, keep_columns=["messages"])
    spec = hft.SFT(
        model=str(inputs.model),
        dataset=data,
        max_steps=1,
        per_device_train_batch_size=2,
        tracking={"report_to": "none"},
    )
    plan = hft.plan(spec, offline=True, backend="local")
    script = tmp_path / "train.py"
    script.write_text(plan.script)
    assert hft.load(str(script)) == spec
    done = warm.run_file("sft", script)
    assert done.named("end")[0]["step"] == 1
    told = done.named("mapped")
    assert (
        not told
        if streaming
        else [(item["function"], item["before"], item["rows"], item["dropped"], item["added"]) for item in told]
        == [("to_chat", 6, 6, 2, 2)]
    )


PAGE = Path(__file__).parents[2] / "references/training_patterns.md"
ALPACA = [
    {"instruction": "Add.", "input": "1, 1", "output": "2"},
    {"instruction": "Greet.", "input": "", "output": "Hi"},
]
GSM8K = [{"question": "1 + 1?", "answer": "One and one make two. #### 2"}]


@pytest.fixture(scope="module")
def recipes() -> dict[str, Any]:
    """What the page of recipes defines, up to those of maps."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks("training_patterns.md", PAGE.read_text(encoding="utf-8")):
        if block.language == "python" and not block.reason:
            run(block, names)
        if "sums" in names:
            break
    return names


@pytest.mark.parametrize(("data", "method", "rows"), [("alpaca", "sft", ALPACA), ("gsm8k", "grpo", GSM8K)])
def test_the_recipes_train(
    inputs: Inputs, warm: Warm, tmp_path: Path, recipes: dict[str, Any], data: str, method: str, rows: list[Any]
) -> None:
    place = tmp_path / "rows.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    recipe: hft.Dataset = recipes[data]
    dataset = {"id": str(place), "map": recipe.map, "keep_columns": recipe.keep_columns}
    few = {"num_generations": 2, "max_completion_length": 4, "reward_funcs": recipes["is_solved"]}
    fields = {"max_steps": 1, "per_device_train_batch_size": 2, "tracking": {"report_to": "none"}}
    spec = {"model": str(inputs.model), "dataset": dataset, **fields, **(few if method == "grpo" else {})}
    assert hft.check({"method": method, **spec}, offline=True, backend="local").ok
    assert warm.run(method, spec, tmp_path / "run").named("end")[0]["step"] == 1
