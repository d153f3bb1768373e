"""Unknown is not wrong, and what only follows from a first problem is not told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts, ScriptFacts
from hfjobs_trainer.facts.values import ValueFacts
from hfjobs_trainer.specs.base import JobSpec
from tests.planning.known_models import QWEN_05B

ME = AccountFacts(has_token=True, name="me", organizations=(), token_role="write")
CHATS = DatasetFacts(
    exists=True, private=False, columns=("messages",), splits=("train", "test"), num_rows=5000, values=ValueFacts(512)
)
PROMPTS = replace(CHATS, columns=("prompt",))
HIDDEN = replace(CHATS, columns=None, num_rows=None)
KNOWN = Facts(model=replace(QWEN_05B, exists=True), dataset=CHATS, account=ME)
MISSING = ModelFacts(exists=False)
SPEC: dict[str, Any] = {
    "method": "sft",
    "model": "me/model",
    "dataset": "me/data",
    "output": {"hub_model_id": "me/out"},
}
GRPO = {"method": "grpo", "reward_funcs": "think_format_reward", "use_vllm": True, "vllm_tensor_parallel_size": 2}


def errors(report: hft.Report) -> list[tuple[str, str]]:
    return [(problem.code, problem.path) for problem in report.problems if problem.severity == "error"]


def first_example() -> JobSpec:
    """The first spec of the README."""
    text = Path("README.md").read_text("utf-8")
    block = re.search(r"```python\n(import hfjobs_trainer as hft\n\nspec = .*?)```", text, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)  # noqa: S102 - it is the package's own page
    spec = names["spec"]
    assert isinstance(spec, JobSpec)
    return spec


@pytest.mark.parametrize("token", ["hf_alice_write", None])
def test_the_first_example_has_no_errors_offline(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    spec: Any = first_example()
    report = hft.Client(token=token).check(spec, offline=True)
    assert errors(report) == []
    assert {item.code for item in report.unchecked} >= {"HW004", "JOB001", "TRACK001", "HUB002", "SEC004"}


def test_the_text_of_a_plan_says_that_nobody_asked() -> None:
    text = str(hft.plan(SPEC, offline=True))
    assert "everything: the Hub was not asked (offline=True)" in text
    assert "no flavor chosen yet" in text
    assert "a Space of the job's owner" in text
    assert "the Hub was not asked" not in str(hft.plan(SPEC, facts=KNOWN))


def test_a_plan_made_offline_says_what_it_does_not_say() -> None:
    made = hft.plan(SPEC, offline=True)
    with pytest.raises(hft.NotAsked, match=r"made offline \(offline=True\).*hft\.plan\(spec\) asks it") as raised:
        hft.submit(made)
    assert "whose job it is, which flavor it takes, how long it takes" in str(raised.value)
    assert isinstance(raised.value, hft.HFTError)
    named = hft.plan({**SPEC, "hardware": "l4x1", "timeout": "1h", "namespace": "me"}, offline=True)
    with pytest.raises(hft.NotAsked, match="made offline") as raised:
        hft.submit(named)
    assert "not known" not in str(raised.value)
    # what is left of a plan that is not to be submitted
    assert hft.submit(made, dry_run=True) is made


def test_what_the_answer_does_not_say_is_the_users_to_decide() -> None:
    pickled = replace(KNOWN, model=ModelFacts(exists=True), dataset=DatasetFacts(exists=True, columns=("messages",)))
    assert errors(hft.check(SPEC, facts=pickled)) == [("HW004", "hardware.flavor"), ("JOB001", "timeout")]
    with pytest.raises(hft.SpecError, match="HW004"):
        hft.submit(hft.plan(SPEC, facts=pickled))


# (what is wrong, fields, facts, the only error that is told)
WRONG: list[tuple[str, dict[str, Any], Facts, tuple[str, str]]] = [
    ("model", {}, replace(KNOWN, model=MISSING), ("HUB002", "model")),
    ("model's name", {"model": "my model"}, replace(KNOWN, model=MISSING), ("HUB003", "model")),
    ("local model", {"model": "./model"}, replace(KNOWN, model=MISSING), ("HUB001", "model")),
    ("adapter as a model", {}, replace(KNOWN, model=ModelFacts(exists=True, adapts="me/base")), ("HUB006", "model")),
    ("dataset", {}, replace(KNOWN, dataset=DatasetFacts(exists=False)), ("HUB002", "dataset.id")),
    (
        "split",
        {"dataset": {"id": "me/data", "split": "validation"}},
        replace(KNOWN, dataset=HIDDEN),
        ("DATA010", "dataset.split"),
    ),
    (
        "configuration",
        {"dataset": {"id": "me/data", "config": "man"}},
        replace(KNOWN, dataset=replace(HIDDEN, splits=None, configs=("main", "socratic"))),
        ("DATA010", "dataset.config"),
    ),
    (
        "no configuration",
        {},
        replace(KNOWN, dataset=replace(HIDDEN, splits=None, configs=("main", "socratic"), needs_config=True)),
        ("DATA010", "dataset.config"),
    ),
    (
        "evaluation set",
        {"eval_dataset": "me/test", "eval_strategy": "steps"},
        replace(KNOWN, eval_dataset=DatasetFacts(exists=False)),
        ("HUB002", "eval_dataset.id"),
    ),
    (
        "columns",
        {"dataset": {"id": "me/data", "columns": {"conv": "messages"}}},
        replace(KNOWN, dataset=replace(CHATS, columns=("chat",))),
        ("DATA005", "dataset.columns"),
    ),
    (
        "teacher",
        {"method": "gkd", "teacher_model": "me/teacher"},
        replace(KNOWN, teacher=MISSING),
        ("HUB002", "teacher_model"),
    ),
    (
        "reward model",
        {"method": "ppo", "reward_model": "me/reward"},
        replace(KNOWN, dataset=PROMPTS, reward_model=MISSING),
        ("HUB002", "reward_model"),
    ),
    (
        "judge",
        {"method": "grpo", "reward_funcs": ["me/judge"]},
        replace(KNOWN, dataset=PROMPTS, reward_models=(MISSING,)),
        ("HUB002", "reward_funcs"),
    ),
    ("adapter", {"lora": {"adapter": "me/sft"}}, replace(KNOWN, adapter=MISSING), ("HUB002", "lora.adapter")),
    ("flavor", {"hardware": "a100-lage"}, KNOWN, ("HW001", "hardware.flavor")),
    (
        "flavor of GRPO",
        {**GRPO, "hardware": "a100-lage"},
        replace(KNOWN, dataset=PROMPTS),
        ("HW001", "hardware.flavor"),
    ),
    ("no flavor", {"hardware": {"num_gpus": 64}}, KNOWN, ("HW003", "hardware.flavor")),
    ("token", {}, replace(KNOWN, account=AccountFacts(has_token=False)), ("SEC004", "secrets")),
    ("stream", {"dataset": {"id": "me/data", "streaming": True}}, KNOWN, ("DATA007", "max_steps")),
]


@pytest.mark.parametrize(("what", "fields", "facts", "told"), WRONG, ids=[item[0] for item in WRONG])
def test_one_mistake_is_one_problem(what: str, fields: dict[str, Any], facts: Facts, told: tuple[str, str]) -> None:
    report = hft.check({**SPEC, **fields}, facts=facts)
    assert errors(report) == [told], what
    # nor is it said in other words
    lacking = {item.code for item in report.unchecked}
    about_rows = (
        {"DATA011", "DATA030", "DATA031"} if what not in ("model", "dataset", "split", "configuration") else set[str]()
    )
    beside = {"VIS001"} if "columns" in what else set[str]()
    assert lacking <= {"HUB002", *about_rows, *beside}


def test_what_is_unknown_for_another_reason_is_listed() -> None:
    unknown = Facts(model=MISSING, account=ME)
    codes = {item.code: item.needs for item in hft.check(SPEC, facts=unknown).unchecked}
    assert codes["DATA004"] == "the columns of me/data"
    assert codes["DATA010"] == "the splits of me/data"
    assert not {"HW004", "JOB001", "TUNE009"} & codes.keys()


def test_two_mistakes_are_two_problems() -> None:
    report = hft.check({**SPEC, "hardware": "a100-lage"}, facts=replace(KNOWN, model=MISSING))
    assert errors(report) == [("HUB002", "model"), ("HW001", "hardware.flavor")]


def test_here_where_no_machine_is_rented_nothing_is_held_back() -> None:
    # of a model on the Hub nothing is told here, so what lacks it is listed
    report = hft.check(SPEC, facts=replace(KNOWN, model=MISSING), backend="local")
    assert [item.code for item in report.unchecked] == ["DATA011", "TUNE009"]


def test_a_script_that_cannot_be_read_is_one_problem() -> None:
    spec = {"method": "script", "script": "https://host/train.py", "hardware": "l4x1", "timeout": "1h"}
    facts = Facts(script=ScriptFacts(problem="HTTP status 404"), account=ME)
    report = hft.check(spec, facts=facts)
    assert errors(report) == [("SCRIPT001", "script")]
    assert report.unchecked == ()


@pytest.mark.parametrize(
    ("path", "asked", "splits", "meant"),
    [
        ("dataset", "validation", ("train", "test"), "train"),
        ("dataset", "trian", ("test", "train"), "train"),
        ("dataset", "train", ("train_sft", "test_sft"), "train_sft"),
        ("dataset", "train", ("test",), None),
        ("dataset", "train", ("validation", "test", "dev"), None),
        ("eval_dataset", "validation", ("train", "test"), "test"),
        ("eval_dataset", "val", ("train", "validation", "test"), "validation"),
    ],
)
def test_nothing_is_trained_on_a_test_set(path: str, asked: str, splits: tuple[str, ...], meant: str | None) -> None:
    data = replace(HIDDEN, splits=splits)
    facts = replace(KNOWN, eval_dataset=data) if path == "eval_dataset" else replace(KNOWN, dataset=data)
    report = hft.check({**SPEC, "eval_strategy": "steps", path: {"id": "me/data", "split": asked}}, facts=facts)
    (fix,) = [problem.fix for problem in report.problems if problem.code == "DATA010"]
    short = (
        f'{path}="me/data"' if meant == "train" and not fix else f'{path}=hft.Dataset(id="me/data", split="{meant}")'
    )
    assert fix == (short if meant else "")
