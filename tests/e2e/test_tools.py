"""Tools, really trained with: conversations that call them, and functions that the model may call."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from examples import tiny
from tests.e2e.methods import STEPS, Warm, one_point_per_character

LOOKUP = {
    "type": "function",
    "function": {
        "name": "color_of",
        "description": "Look up the color of a thing.",
        "parameters": {"type": "object", "properties": {"thing": {"type": "string"}}, "required": ["thing"]},
    },
}


def color_of(thing: str) -> str:
    """Look up the color of a thing.

    Args:
        thing: What to look at.
    """
    return {"rose": "red", "sea": "blue"}.get(thing, "unknown")


@pytest.fixture(scope="module")
def calling_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with the chat template of a model that calls tools."""
    folder = tmp_path_factory.mktemp("calling") / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_bytes(files("trl").joinpath("chat_templates/qwen2_5.jinja").read_bytes())
    return folder


def conversation(index: int) -> list[dict[str, Any]]:
    thing = tiny.THINGS[index % len(tiny.THINGS)]
    color = tiny.COLORS[index % len(tiny.COLORS)]
    call = {"type": "function", "function": {"name": "color_of", "arguments": {"thing": thing}}}
    return [
        {"role": "user", "content": f"What color is the {thing}?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "color_of", "content": color},
        {"role": "assistant", "content": f"The {thing} is {color}."},
    ]


def common(model: Path, dataset: Path) -> dict[str, Any]:
    return {
        "model": str(model),
        "dataset": str(dataset),
        "max_steps": STEPS,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "save_strategy": "no",
        "seed": 7,
        "tracking": hft.Tracking(report_to="none"),
    }


def tokens(warm: Warm, model: Path, folder: Path, rows: list[dict[str, Any]]) -> float:
    """Tokens that two steps of SFT see of these rows."""
    folder.mkdir()
    dataset = folder / "rows.jsonl"
    dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = warm.run("sft", common(model, dataset), folder)
    (end,) = run.named("end")
    assert end["step"] == STEPS
    return run.metrics("num_tokens")[-1]["metrics"]["num_tokens"]


def test_sft_on_conversations_that_call_tools(calling_model: Path, warm: Warm, tmp_path: Path) -> None:
    """The tools of a row are part of what the model reads."""
    rows = [{"messages": conversation(0)} for _ in range(8)]
    without = tokens(warm, calling_model, tmp_path / "without", rows)
    given = tokens(warm, calling_model, tmp_path / "with", [row | {"tools": json.dumps([LOOKUP])} for row in rows])
    assert given > without + 4 * len(json.dumps(LOOKUP)) / 8


def test_grpo_with_functions_to_call(
    calling_model: Path, tiny_data: Callable[[tiny.Format], Path], warm: Warm, tmp_path: Path
) -> None:
    fields = common(calling_model, tiny_data("prompt_only_chat")) | {
        "reward_funcs": one_point_per_character,
        "tools": [color_of],
        "num_generations": 2,
        "max_completion_length": 8,
        "max_tool_calling_iterations": 1,
    }
    run = warm.run("grpo", fields, tmp_path)
    (end,) = run.named("end")
    assert end["step"] == STEPS
    metrics = run.metrics("tools/")[-1]["metrics"]
    assert metrics["tools/call_frequency"] >= 0
    text = (tmp_path / "script.py").read_text()
    assert "        tools=[color_of],\n" in text
    # the spec that the script carries has the function too
    assert hft.load(str(tmp_path / "script.py")).to_dict()["tools"][0]["name"] == "color_of"


def test_tools_share_the_names_of_the_script() -> None:
    def report(thing: str) -> str:
        """Say it.

        Args:
            thing: What to say.
        """
        return thing

    spec = hft.GRPO(model="me/model", dataset="me/data", reward_funcs=one_point_per_character, tools=report)
    found = hft.check(spec, backend="local", offline=True).problems
    errors = [(problem.code, problem.path) for problem in found if problem.severity == "error"]
    assert errors == [("GRPO013", "tools")]


def test_a_run_without_enough_prompts_ends_before_training(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], warm: Warm, tmp_path: Path
) -> None:
    """What the facts do not tell, such as rows behind a slice, the script finds out."""
    fields = common(tiny_model, tiny_data("prompt_only_chat")) | {
        "dataset": {"id": str(tiny_data("prompt_only_chat")), "split": "train[:2]"},
        "reward_funcs": one_point_per_character,
        "num_generations": 2,
        "per_device_train_batch_size": 8,
        "max_completion_length": 4,
    }
    with pytest.raises(AssertionError, match="There are 2 prompts to train on, and 4 are answered"):
        warm.run("grpo", fields, tmp_path)
