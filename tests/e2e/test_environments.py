"""Environments, really trained in: a model that calls, turn after turn, what its environment offers."""

from __future__ import annotations

import functools
import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from tests.e2e.methods import STEPS, Finished, Warm

FIRST_PRICE = 3


class Counting:
    """What environments here have in common."""

    def reset(self, **row: Any) -> str | None:
        self.calls = 0
        self.row = row
        return f" It is worth {FIRST_PRICE} or more."


class Shop(Counting):
    """A shop that counts what it is asked."""

    def __init__(self, price: int = FIRST_PRICE) -> None:
        self.price = price

    def look(self, thing: str) -> str:
        """Look up what a thing costs.

        Args:
            thing: What to look at.

        Returns:
            Its price.
        """
        self.calls += 1
        return f"{thing}: {self.price}"

    def get_reward(self) -> float:
        return float(self.calls)


class Garden:
    """An environment that waits, and leaves scoring to a reward."""

    def reset(self, **row: Any) -> str:
        assert not row
        self.watered = [0]
        return "How is the rose?"

    async def look(self, thing: str) -> str:
        """Look at a plant.

        Args:
            thing: The plant.
        """
        self.watered[0] += 1
        return thing


def make_shop() -> Shop:
    return Shop(price=5)


def watered(completions: list[Any], environments: list[Any], **columns: Any) -> list[float | None]:
    return [float(sum(item.watered)) if hasattr(item, "watered") else None for item in environments]


@pytest.fixture(scope="module")
def calling_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with the chat template of a model that calls tools, and room for several turns."""
    folder = tmp_path_factory.mktemp("calling") / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_bytes(files("trl").joinpath("chat_templates/qwen2_5.jinja").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return folder


def always(model: Path, text: str) -> dict[str, Any]:
    """Arguments of ``generate`` with which a model says this and nothing else."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(model)(text, add_special_tokens=False)["input_ids"]
    # that token wins before which most of the text stands
    return {"sequence_bias": [[tokens[:end], 100.0 * end] for end in range(1, len(tokens) + 1)]}


def fields(model: Path, folder: Path, rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    call = json.dumps({"name": "look", "arguments": {"thing": "rose"}})
    dataset = folder / "rows.jsonl"
    dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "model": str(model),
        "dataset": str(dataset),
        "max_steps": STEPS,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "num_generations": 2,
        "max_completion_length": 400,
        "max_tool_calling_iterations": 2,
        "generation_kwargs": always(model, f"<tool_call>\n{call}\n</tool_call><|im_end|>"),
        "save_strategy": "no",
        "seed": 7,
        "tracking": hft.Tracking(report_to="none"),
    } | changes


def asks(**more: str) -> list[dict[str, Any]]:
    prompt = [{"role": "user", "content": "What does the rose cost?"}]
    return [{"prompt": prompt, **more} for _ in range(8)]


def metrics(run: Finished, start: str = "") -> dict[str, float]:
    (end,) = run.named("end")
    assert end["step"] == STEPS
    return run.metrics(start)[-1]["metrics"]


def test_a_model_acts_in_its_environment(calling_model: Path, warm: Warm, tmp_path: Path) -> None:
    given = fields(calling_model, tmp_path, asks(answer="3"), environment_factory=Shop)
    run = warm.run("grpo", given, tmp_path)
    logged = metrics(run, "tools/")
    # each of two turns calls, and each reset begins anew
    assert (logged["tools/call_frequency"], logged["tools/failure_frequency"]) == (2.0, 0.0)
    assert (logged["rewards/Shop/mean"], logged["reward"]) == (2.0, 2.0)
    script = (tmp_path / "script.py").read_text()
    assert "        environment_factory=Shop,\n" in script
    assert script.index("class Counting:") < script.index("class Shop(Counting):") < script.index("def main()")
    assert hft.load(str(tmp_path / "script.py")) == hft.GRPO(**given)


def test_rows_choose_among_environments(calling_model: Path, warm: Warm, tmp_path: Path) -> None:
    """Rows need no prompt where reset asks; a method may be async, and a reward sees the environments."""
    made = {"shop": make_shop, "cheap": functools.partial(Shop, price=1), "garden": Garden}
    rows = [{"environment": name} for name in made for _ in range(4)]
    given = fields(calling_model, tmp_path, rows, environment_factory=made, reward_funcs=watered)
    run = warm.run("grpo", given | {"max_tool_calling_iterations": 1}, tmp_path)
    logged = metrics(run, "tools/")
    assert (logged["tools/call_frequency"], logged["tools/failure_frequency"]) == (1.0, 0.0)
    rewards = [item["metrics"]["reward"] for item in run.metrics("tools/")]
    assert rewards == [1.0] * STEPS
    assert '"cheap": Shop_partial' in (tmp_path / "script.py").read_text()


def look(thing: str) -> str:
    """Look up what a thing costs.

    Args:
        thing: What to look at.
    """
    return f"{thing}: {FIRST_PRICE}"


def test_a_distillation_calls_functions(calling_model: Path, warm: Warm, tmp_path: Path) -> None:
    given = fields(calling_model, tmp_path, asks(), tools=[look], teacher_model=str(calling_model))
    del given["num_generations"]
    logged = metrics(warm.run("distillation", given, tmp_path), "tools/")
    assert (logged["tools/call_frequency"], logged["tools/failure_frequency"]) == (2.0, 0.0)
