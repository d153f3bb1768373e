"""A fine-tuning job of OpenAI becomes a spec, of which every guess is told."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.specs.openai_graders import Graded, read_grader

MODEL = "m/m"
EQUAL = {
    "type": "string_check",
    "name": "Exact match",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    for name, messages in (("1", talk), ("2", talk), ("3", talk[:1])):
        row = json.dumps({"messages": messages, "answer": "a"})
        (tmp_path / f"file-{name}.jsonl").write_text(f"{row}\n" * 40, "utf-8")
    return tmp_path


def load(kind: str | None, numbers: dict[str, Any], *, own: Any = None, job: Any = None, **fields: Any) -> Any:
    told: dict[str, Any] = {"hyperparameters": numbers}
    method: dict[str, Any] = {"method": {"type": kind, kind: {**told, **(own or {})}}} if kind else told
    text = {"object": "fine_tuning.job", "model": "gpt-4o", "training_file": "file-1", "validation_file": None}
    Path("job.json").write_text(json.dumps({**text, **method, **(job or {})}), "utf-8")
    return hft.load("job.json", **fields)


def notes(spec: Any) -> dict[str, Any]:
    return {note.path: note.value for note in spec.notes}


def test_supervised(folder: Path) -> None:
    numbers = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 2.0}
    job = {"validation_file": "file-2", "seed": 7, "user_provided_suffix": "bot"}
    spec = load("supervised", numbers, job=job, model=MODEL)
    assert spec == hft.SFT(
        model=MODEL,
        dataset="./file-1.jsonl",
        eval_dataset="./file-2.jsonl",
        eval_strategy="epoch",
        num_train_epochs=2.0,
        global_batch_size=4,
        learning_rate=4e-5,
        seed=7,
        output_dir="bot",
    )
    assert notes(spec).keys() == {"method", "eval_strategy", "learning_rate", "output_dir"}
    assert load("supervised", numbers, model=MODEL, lora=hft.LoRA()).learning_rate == 4e-4
    auto = load(None, {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}, model=MODEL)
    assert (auto.num_train_epochs, auto.global_batch_size, auto.learning_rate) == (3.0, None, 2e-5)
    assert {"num_train_epochs", "global_batch_size", "learning_rate"} <= notes(auto).keys()
    shown = str(hft.plan(auto.replace(timeout="1h"), backend="local", offline=True))
    assert "n_epochs: auto; a guess" in shown


def test_preferences(folder: Path) -> None:
    wandb = {"type": "wandb", "wandb": {"project": "p", "name": "n", "entity": "e"}}
    numbers = {"beta": 0.2, "n_epochs": 1, "batch_size": 8, "learning_rate_multiplier": 1.0}
    spec = load("dpo", numbers, job={"integrations": [wandb]}, model=MODEL, dataset="a/b")
    assert spec == hft.DPO(
        model=MODEL,
        dataset="a/b",
        beta=0.2,
        num_train_epochs=1.0,
        global_batch_size=8,
        learning_rate=1e-6,
        tracking={"report_to": "wandb", "project": "p", "name": "n"},
        env={"WANDB_ENTITY": "e"},
    )


def rewards_of(spec: Any) -> list[Any]:
    """The functions of a spec, called on one right answer and one wrong."""
    found: list[Any] = []
    for function in spec.reward_funcs:
        names: dict[str, Any] = {}
        exec(function.source, names)  # noqa: S102 - what the package itself wrote
        told = {"completions": [[{"role": "assistant", "content": text}] for text in ("a", "b")]}
        found.append(names[function.name](prompts=["q", "q"], **told, answer=["a", "a"], trainer_state=None))
    return found


def test_graders_are_rewards(folder: Path) -> None:
    python = {"type": "python", "source": "import math\n\ndef grade(sample, item):\n    return math.sqrt(4.0)\n"}
    graders = {"a": EQUAL, "b": python}
    multi = {"type": "multi", "graders": graders, "calculate_output": "0.75 * a + b / 4"}
    spec = load("reinforcement", {"batch_size": 4}, own={"grader": multi}, job={"training_file": "file-3"}, model=MODEL)
    assert isinstance(spec, hft.GRPO)
    assert (spec.reward_weights, spec.global_batch_size) == ([0.75, 0.25], 32)
    assert spec.dataset.columns == {"messages": "prompt"}
    assert rewards_of(spec) == [[1.0, 0.0], [2.0, 2.0]]
    plan = hft.plan(spec.replace(timeout="1h"), backend="local", offline=True)
    assert "def a(completions, **columns):" in plan.script
    alone = load("reinforcement", {}, own={"grader": {**EQUAL, "operation": "ne"}}, model=MODEL)
    assert (alone.reward_funcs[0].name, rewards_of(alone)) == ("exact_match", [[0.0, 1.0]])


@pytest.mark.parametrize(
    ("grader", "why"),
    [
        ({"type": "score_model"}, "score_model"),
        ({**EQUAL, "input": "{{item.question}}"}, "compares"),
        ({**EQUAL, "reference": "so {{item.answer}}"}, "compares with"),
        ({"type": "python", "source": "def grade(:"}, "cannot be parsed"),
        ({"type": "python", "source": "x = 1"}, "no function grade"),
        ({"type": "python", "source": "def grade(s, i):\n    return len('''a\nb''')"}, "several lines"),
        ({"type": "multi", "graders": {"a": EQUAL}, "calculate_output": "max(a, 1)"}, "no weighted sum"),
        ({"type": "multi", "graders": {"a": EQUAL}, "calculate_output": "b"}, "no weighted sum"),
        (None, "the type None"),
    ],
)
def test_a_grader_that_is_no_function_is_answered(grader: Any, why: str, folder: Path) -> None:
    assert why in str(read_grader(grader))
    with pytest.raises(hft.SpecError) as caught:
        load("reinforcement", {}, own={"grader": grader}, model=MODEL)
    (problem,) = caught.value.problems
    assert (problem.path, problem.fix) == ("reward_funcs", 'reward_funcs="accuracy_reward"')
    mended = load("reinforcement", {}, own={"grader": grader}, model=MODEL, reward_funcs="accuracy_reward")
    assert mended.reward_funcs == ["accuracy_reward"]


def test_a_constant_is_compared_with() -> None:
    graded = read_grader({**EQUAL, "reference": "yes'\"", "operation": "ilike"})
    assert isinstance(graded, Graded)
    assert ast.parse(graded.functions[0][1])


def test_what_is_missing_is_told_with_its_fix(folder: Path) -> None:
    with pytest.raises(hft.SpecError) as caught:
        load("supervised", {}, job={"training_file": "file-9"})
    found = {problem.path: (problem.code, problem.fix) for problem in caught.value.problems}
    assert found == {
        "model": ("SPEC002", 'model="Qwen/Qwen2.5-7B-Instruct"'),
        "dataset": ("LOAD001", 'dataset="train.jsonl"'),
    }
    with pytest.raises(hft.SpecError, match="no method that is the same"):
        load("vision", {}, model=MODEL)
