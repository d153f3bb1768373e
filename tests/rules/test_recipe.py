"""Starting values that hardly train: who is warned, of what, and that the fix mends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rules.case import base

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.planning.model.optimizers import is_adam
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.trl_args.common import OptimizerNames
from tests.planning.known_models import LLAMA_8B, LLAMA_70B, QWEN_05B

NOTHING = Facts()
LORA: dict[str, Any] = {"lora": {}}


def found(fields: dict[str, Any], facts: Facts = NOTHING, backend: str = "hub") -> list[Problem]:
    problems = hft.check(base(fields), facts=facts, backend=backend).problems
    return [problem for problem in problems if problem.code.startswith("RECIPE")]


def rated(method: str, rate: float, facts: Facts = NOTHING, **fields: Any) -> list[tuple[str, str]]:
    """Code and severity of what is said of a learning rate."""
    told = found({"method": method, "learning_rate": rate, **fields}, facts)
    return [(problem.code, problem.severity) for problem in told if problem.path == "learning_rate"]


# -- unset


@pytest.mark.parametrize("method", sorted(set(hft.METHODS) - {"ppo", "reward"}))
def test_a_default_for_all_weights_is_told_under_an_adapter(method: str) -> None:
    for more in ({}, {"quantization": "4bit"}):
        codes = [problem.code for problem in found({"method": method, **LORA, **more})]
        assert codes.count("RECIPE001") == 1
        assert "RECIPE004" not in codes
    assert "RECIPE001" not in [problem.code for problem in found({"method": method})]


@pytest.mark.parametrize("method", ["ppo", "reward"])
def test_a_default_that_suits_an_adapter_is_not(method: str) -> None:
    assert not found({"method": method, **LORA})


def test_the_proposed_rate_is_for_the_size_of_the_model() -> None:
    fixes = [
        found({"method": "dpo", "num_train_epochs": 1, **LORA}, Facts(model=model))[0].fix
        for model in (QWEN_05B, LLAMA_8B, ModelFacts())
    ]
    assert fixes == ["learning_rate=1e-5", "learning_rate=5e-6", "learning_rate=5e-6"]


# -- prompts per step


@pytest.mark.parametrize(
    ("fields", "prompts"),
    [
        ({"method": "grpo"}, "1 prompt:"),
        ({"method": "grpo", "hardware": "l4x4"}, "4 prompts:"),
        ({"method": "grpo", "hardware": "a100x8"}, None),
        ({"method": "grpo", "gradient_accumulation_steps": 7}, "7 prompts:"),
        ({"method": "grpo", "gradient_accumulation_steps": 8}, None),
        ({"method": "grpo", "global_batch_size": 32}, "4 prompts:"),
        ({"method": "grpo", "global_batch_size": 32, "gradient_accumulation_steps": 4}, "4 prompts:"),
        ({"method": "grpo", "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}, "0.5 prompts:"),
        ({"method": "grpo", "num_generations": 6, "per_device_train_batch_size": 6}, "1 prompt:"),
        ({"method": "rloo"}, "4 prompts:"),
        ({"method": "rloo", "hardware": {"flavor": "l4x4", "num_gpus": 3}}, None),
        ({"method": "online_dpo"}, None),
    ],
)
def test_a_step_needs_eight_prompts(fields: dict[str, Any], prompts: str | None) -> None:
    given = {"hardware": "l4x1", **fields}
    told = [problem for problem in found(given) if problem.code == "RECIPE002"]
    assert bool(told) == (prompts is not None)
    if prompts:
        assert f"has the answers to {prompts}" in told[0].why
        mended = hft.METHODS[given["method"]](**{key: value for key, value in base(given).items() if key != "method"})
        mended = mended.replace(**eval(f"dict({told[0].fix})"))  # noqa: S307 - our own fix
        codes = {problem.code for problem in hft.check(mended, facts=NOTHING).problems}
        assert not codes & {"RECIPE002", "BATCH001", "GRPO001", "GRPO008"}


def test_a_dataset_of_few_prompts_cannot_have_more() -> None:
    few = Facts(dataset=DatasetFacts(num_rows=5))
    told = [
        problem.fix for problem in found({"method": "grpo", "hardware": "l4x1"}, few) if problem.code == "RECIPE002"
    ]
    assert told == ["global_batch_size=40"]
    assert "RECIPE002" not in {
        problem.code for problem in found({"method": "grpo", "hardware": "l4x1", "global_batch_size": 40}, few)
    }


def test_without_a_machine_the_prompts_are_not_counted() -> None:
    report = hft.check(base({"method": "grpo"}), facts=NOTHING)
    assert "RECIPE002" in [item.code for item in report.unchecked]
    assert "RECIPE002" in [problem.code for problem in found({"method": "grpo"}, backend="local")]


# -- epochs


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"method": "dpo"}, True),
        ({"method": "grpo"}, True),
        ({"method": "dpo", "num_train_epochs": 3}, True),
        ({"method": "dpo", "num_train_epochs": 2}, False),
        ({"method": "dpo", "max_steps": 100}, False),
        ({"method": "sft"}, False),
        ({"method": "reward"}, False),
    ],
)
def test_three_epochs_are_told_of_dpo_and_grpo(fields: dict[str, Any], told: bool) -> None:
    problems = [problem for problem in found(fields) if problem.code == "RECIPE003"]
    assert bool(problems) == told
    assert not told or ("TRL's default" in problems[0].why) == ("num_train_epochs" not in fields)


# -- learning rates


SMALL, LARGE, HUGE = Facts(model=QWEN_05B), Facts(model=LLAMA_8B), Facts(model=LLAMA_70B)
FAR, ABSURD = [("RECIPE004", "warning")], [("RECIPE005", "error")]


@pytest.mark.parametrize(
    ("method", "rate", "facts", "fields", "told"),
    [
        ("sft", 2e-5, LARGE, {}, []),
        ("sft", 1e-4, LARGE, {}, []),
        ("sft", 2e-4, LARGE, {}, FAR),
        ("sft", 2e-4, SMALL, {}, []),
        ("sft", 3e-3, SMALL, {}, FAR),
        ("sft", 3e-3, NOTHING, {}, FAR),
        ("sft", 2e-6, LARGE, {}, FAR),
        ("sft", 2e-6, HUGE, {}, []),
        ("sft", 2e-4, LARGE, LORA, []),
        ("sft", 2e-5, LARGE, LORA, FAR),
        ("sft", 5e-5, LARGE, LORA, []),
        ("sft", 3e-3, LARGE, LORA, FAR),
        ("sft", 0.0, LARGE, {}, []),
        ("sft", 0.02, LARGE, {}, ABSURD),
        ("sft", 0.11, NOTHING, {}, ABSURD),
        ("sft", 0.5, SMALL, LORA, ABSURD),
        ("sft", 5.0, LARGE, {"optim": "sgd"}, FAR),
        ("sft", 0.5, LARGE, {"optim": "adafactor"}, FAR),
        ("sft", 0.5, LARGE, {"optim": "paged_adamw_8bit"}, ABSURD),
        ("dpo", 5e-7, LARGE, {}, []),
        ("dpo", 1e-5, LARGE, {}, FAR),
        ("dpo", 1e-3, LARGE, {}, ABSURD),
        ("dpo", 5e-6, LARGE, LORA, []),
        ("dpo", 1e-6, LARGE, LORA, []),
        ("reward", 1e-4, LARGE, {}, FAR),
        ("reward", 1e-4, LARGE, LORA, []),
        ("ppo", 1e-3, LARGE, {}, []),
        ("ppo", 0.2, LARGE, {}, ABSURD),
        ("ppo", 0.2, LARGE, {"optim": "sgd"}, FAR),
    ],
)
def test_a_rate_is_held_to_the_range_of_the_sources(
    method: str, rate: float, facts: Facts, fields: dict[str, Any], told: list[tuple[str, str]]
) -> None:
    assert rated(method, rate, facts, **fields) == told
    for problem in found({"method": method, "learning_rate": rate, **fields}, facts):
        if problem.path == "learning_rate":
            better = float(problem.fix.removeprefix("learning_rate="))
            assert rated(method, better, facts, **fields) == []


def test_models_smaller_than_any_of_the_sources_are_held_to_the_absolute_bound() -> None:
    tiny = Facts(model=replace(QWEN_05B, num_parameters=5_000_000))
    assert rated("dpo", 1e-2, tiny) == []
    assert rated("dpo", 0.2, tiny) == ABSURD


def test_a_method_that_extends_another_is_held_to_its_recipe() -> None:
    class Mine(hft.DPO):
        pass

    report = hft.check(Mine(model="me/model", dataset="me/data", lora={}), facts=NOTHING)
    assert {"RECIPE001", "RECIPE003"} <= {problem.code for problem in report.problems}


def test_a_plan_with_an_absurd_rate_is_refused() -> None:
    spec = hft.SFT(model="me/model", dataset="me/data", learning_rate=5)
    with pytest.raises(hft.SpecError, match="RECIPE005"):
        hft.plan(spec, facts=NOTHING, backend="local")


def test_the_optimizers_of_the_adam_family_are_known() -> None:
    names = OptimizerNames.__args__  # pyright: ignore[reportAttributeAccessIssue]
    assert [name for name in names if not is_adam(name)] == [
        "adafactor",
        "sgd",
        "adagrad",
        "lion_8bit",
        "lion_32bit",
        "paged_lion_32bit",
        "paged_lion_8bit",
        "rmsprop",
        "rmsprop_bnb",
        "rmsprop_bnb_8bit",
        "rmsprop_bnb_32bit",
        "galore_adafactor",
        "galore_adafactor_layerwise",
        "lomo",
        "adalomo",
        "schedule_free_sgd",
    ]
