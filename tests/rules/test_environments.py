"""What is refused of an environment is what TRL's trainer fails with, and no more."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts

CHAT = [{"role": "user", "content": "What does the rose cost?"}]


class Good:
    """What all these are made of."""

    def reset(self, **row: Any) -> str | None:
        return "Look."

    def look(self, thing: str) -> str:
        """Look.

        Args:
            thing: At what.
        """
        return thing

    def get_reward(self) -> float:
        return 1.0


class Made(Good):
    def __init__(self, size: int) -> None:
        self.size = size


class WithoutReset:
    look = Good.look
    get_reward = Good.get_reward


class ClassReset(Good):
    @classmethod
    def reset(cls, **row: Any) -> str | None:
        return "Look."


class NoColumns(Good):
    def reset(self) -> str | None:
        return "Look."


class Gym(Good):
    def reset(self, **row: Any) -> Any:
        return "Look.", {}


class Waiting(Good):
    async def reset(self, **row: Any) -> Any:
        return "Look."


class Asking(Good):
    def reset(self, goal: str, **row: Any) -> str | None:
        return goal


class Positional(Good):
    def reset(self, prompt: Any, /, **row: Any) -> str | None:
        return "Look."


class Exact(Good):
    def reset(self, prompt: Any, answer: Any) -> str | None:
        return None


class Judge(Good):
    def get_reward(self, completion: Any) -> float:
        return 1.0


class Wordy(Good):
    def get_reward(self) -> Any:
        return "1.0"


class Pair(Good):
    def get_reward(self) -> Any:
        return 1.0, 2.0


class Slow(Good):
    async def get_reward(self, scale: float = 1.0) -> float:
        return scale


class Helping(Good):
    @property
    def all(self) -> list[str]:
        return []

    @staticmethod
    def count(things: list[str]) -> int:
        """Count.

        Args:
            things: What.
        """
        return len(things)

    def _help(self, x):
        return x


class Undescribed(Good):
    def helper(self, x):
        return x


class Unscored(Good):
    get_reward = None


class Still:
    """Nothing to call, nothing said."""

    def reset(self, **row: Any) -> None: ...

    def get_reward(self) -> float:
        return 1.0


def make() -> Made:
    return Made(3)


def make_of(size: int) -> Made:
    return Made(size)


class Case(NamedTuple):
    environment: Any
    code: str = ""
    prompt: Any = CHAT
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed


CASES: dict[str, Case] = {
    "good": Case(Good),
    "made without arguments": Case(Made, "TOOL003"),
    "made by a function": Case(make),
    "made by a function of a size": Case(make_of, "TOOL003"),
    "made by a partial": Case(functools.partial(Made, size=3)),
    "without reset": Case(WithoutReset, "TOOL003"),
    "reset of the class": Case(ClassReset, "TOOL003"),
    "reset of nothing": Case(NoColumns, "TOOL003"),
    "reset as in gym": Case(Gym, "TOOL003"),
    "reset is async": Case(Waiting, "TOOL003"),
    "reset asks for more": Case(Asking, "TOOL003"),
    "reset by position": Case(Positional, "TOOL003"),
    "reset of the very columns": Case(Exact),
    "reward asks for more": Case(Judge, "TOOL006"),
    "reward is a text": Case(Wordy, "TOOL006"),
    "reward is a pair": Case(Pair, "TOOL006"),
    "reward is async": Case(Slow),
    "other methods": Case(Helping),
    "not described": Case(Undescribed, "TOOL001"),
    "not scored": Case(Unscored, "GRPO019"),
    "texts": Case(Good, "TOOL004", prompt="What does the rose cost?"),
    "texts and nothing to call": Case(Still, prompt="What does the rose cost?"),
    "without a bound": Case(Good, "TOOL004", more={"max_completion_length": None}),
    "by name": Case({"here": Good}, more={"environment": "here"}),
    "by another name": Case({"here": Good}, "TOOL005", more={"environment": "there"}),
    "without a column": Case({"here": Good}, "DATA004"),
}


@pytest.fixture(scope="module")
def calling_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calling") / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_bytes(files("trl").joinpath("chat_templates/qwen2_5.jinja").read_bytes())
    return folder


@pytest.mark.torch
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_trl_agrees(name: str, calling_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    row = {"prompt": case.prompt, "answer": "3"} | (
        {"environment": where} if (where := case.more.get("environment")) else {}
    )
    bound = case.more.get("max_completion_length", 400)
    facts = Facts(
        dataset=DatasetFacts(
            exists=True,
            columns=tuple(row),
            conversational=not isinstance(case.prompt, str),
            environments=(row["environment"],) if "environment" in row else None,
        )
    )
    spec = {"method": "grpo", "model": "me/model", "dataset": "me/data", "environment_factory": case.environment}
    problems = hft.check(spec | {"max_completion_length": bound}, facts=facts, backend="local").problems
    assert {problem.code for problem in problems if problem.severity == "error"} == (
        {case.code} if case.code else set()
    )
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    run = trainer(calling_model, tmp_path, [row] * 4, case.environment, bound)
    if case.code:
        from transformers.utils.chat_template_utils import DocstringParsingException

        with pytest.raises((TypeError, ValueError, AttributeError, RuntimeError, DocstringParsingException)):
            run()
    else:
        run()


def trainer(
    model: Path, folder: Path, rows: list[dict[str, Any]], factory: Any, bound: int | None
) -> Callable[[], Any]:
    """What trains one step, in which the model calls ``look``."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    call = json.dumps({"name": "look", "arguments": {"thing": "rose"}})
    text = f"<tool_call>\n{call}\n</tool_call><|im_end|>"
    tokens = AutoTokenizer.from_pretrained(model)(text, add_special_tokens=False)["input_ids"]
    bias = [[tokens[:end], 100.0 * end] for end in range(1, len(tokens) + 1)]
    arguments = GRPOConfig(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=bound,
        max_tool_calling_iterations=1,
        generation_kwargs={"sequence_bias": bias},
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
    )

    def run() -> None:
        made = GRPOTrainer(
            model=str(model), args=arguments, train_dataset=Dataset.from_list(rows), environment_factory=factory
        )
        made.train()

    return run
