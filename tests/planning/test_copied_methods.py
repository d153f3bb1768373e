"""A method under another name is planned like the method that it copies: nothing is known by a method's name.

A copy extends the class of the method, or is written afresh: on the same arguments, with the same declarations, as a
method is that shares a config of TRL with another. Then it has no template here, and is planned but not rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import pytest
from pydantic import create_model

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, LengthFacts
from hfjobs_trainer.facts.dataset import SHARES
from hfjobs_trainer.planning.check import rules_for
from hfjobs_trainer.specs import registry
from hfjobs_trainer.specs.base import TrainSpec
from tests.planning.known_models import LLAMA_8B, QWEN_05B
from tests.specs.building import required

GIVEN: dict[str, Any] = {
    "model": "org/model",
    "dataset": "org/data",
    "reward_funcs": ["org/judge", "think_format_reward"],
    "reward_model": "org/judge",
    "teacher_model": "org/teacher",
    "output": {"hub_model_id": "me/model"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": {"r": 8}, "quantization": "4bit"},
    "spread": {"hardware": {"flavor": "a100x4", "strategy": "fsdp2"}, "gradient_accumulation_steps": 4},
    "batch": {"hardware": "l4x4", "global_batch_size": 64, "eval_strategy": "steps", "eval_fraction": 0.1},
}
LENGTHS = LengthFacts("tokens", 512, 700.0, tuple(1400 * share for share in SHARES), prompt_mean=150.0)
COLUMNS = ("prompt", "chosen", "rejected", "completion", "label", "messages")
FACTS = Facts(
    model=replace(LLAMA_8B, exists=True),
    dataset=DatasetFacts(exists=True, num_rows=20_000, lengths=LENGTHS, columns=COLUMNS, splits=("train",)),
    teacher=replace(LLAMA_8B, exists=True),
    reward_model=replace(QWEN_05B, exists=True),
    reward_models=(replace(QWEN_05B, exists=True),),
    account=AccountFacts(name="me"),
)


def extend(base: type[TrainSpec], name: str) -> type[TrainSpec]:
    return create_model("Copied", __base__=base, method=(Literal[name], name))


def write_afresh(base: type[TrainSpec], name: str) -> type[TrainSpec]:
    names = ("TRAINING", "LOGS_FROM_REWARDS", "dataset_formats", "taken_columns")
    declared = type("Declared", (), {key: value for key, value in vars(base).items() if key in names})
    bases = cast("tuple[type[TrainSpec], ...]", (declared, *base.__bases__))
    return create_model("Afresh", __base__=bases, method=(Literal[name], name))


@pytest.fixture(params=[extend, write_afresh], ids=["extended", "afresh"])
def make(request: pytest.FixtureRequest) -> Callable[[type[TrainSpec], str], type[TrainSpec]]:
    return request.param


@pytest.fixture
def copied(
    request: pytest.FixtureRequest, make: Callable[[type[TrainSpec], str], type[TrainSpec]]
) -> Iterator[type[TrainSpec]]:
    base, name = hft.METHODS[request.param], f"copied_{request.param}"
    known = base.METHOD
    yield registry.method(
        name,
        label=known.label,
        trainer=known.trainer,
        config=known.config,
        module=known.module,
        family=known.family,
        lora_task=known.lora_task,
        device_map=known.device_map,
        loads_models=known.loads_models,
    )(make(base, name))
    registry.forget(name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("copied", "name"), [(name, name) for name in hft.METHODS], indirect=["copied"])
@pytest.mark.parametrize("facts", [FACTS, Facts()], ids=["known", "unknown"])
def test_a_copy_is_planned_like_its_method(copied: type[TrainSpec], name: str, variant: str, facts: Facts) -> None:
    fields = required(name, GIVEN) | VARIANTS[variant]
    own, copy = hft.METHODS[name](**fields), copied(**fields)
    codes = {rule.code for rule in rules_for(copied)}
    for backend in ("hub", "local"):
        first, second = (hft.check(spec, facts=facts, backend=backend) for spec in (own, copy))
        assert second.problems == tuple(problem for problem in first.problems if problem.code in codes)
        assert second.unchecked == tuple(item for item in first.unchecked if item.code in codes)
    first, second = hft.estimate(own, facts=facts), hft.estimate(copy, facts=facts)
    assert second == first
    assert str(hft.compare_flavors(copy, facts=facts)) == str(hft.compare_flavors(own, facts=facts))
    if copied.METHOD.extends and hft.check(own, facts=facts).ok:
        plans = [hft.plan(spec, facts=facts) for spec in (own, copy)]
        assert plans[1].decisions == plans[0].decisions
        assert len(plans[1].script) > 5000
        assert plans[1].estimate == plans[0].estimate


@pytest.mark.parametrize(("copied", "name"), [(name, name) for name in hft.METHODS], indirect=["copied"])
def test_a_copy_has_every_rule_but_those_of_one_method_alone(copied: type[TrainSpec], name: str) -> None:
    rules = [rule for rule in rules_for(hft.METHODS[name]) if copied.METHOD.extends or not rule.methods]
    assert list(rules_for(copied)) == rules


@pytest.mark.parametrize("make", [write_afresh], indirect=True, ids=["afresh"])
@pytest.mark.parametrize(
    ("copied", "fields", "told"),
    [
        ("dpo", {"precompute_ref_log_probs": True, "dataset": {"id": "me/data", "streaming": True}}, "DPO004"),
        ("dpo", {"sync_ref_model": True, "lora": {}}, "DPO005"),
        ("dpo", {"max_length": 64}, "DATA011"),
        ("kto", {"dataset": "me/images", "max_length": 64}, "VIS003"),
        ("kto", {"dataset": "me/images", "precompute_ref_log_probs": True}, "VIS004"),
        ("sft", {"dataset": "me/images", "packing": True}, "VIS002"),
        ("orpo", {"dataset": {"id": "me/data", "streaming": True}}, "ORPO001"),
        ("rloo", {"num_generations": 3, "hardware": "l4x1"}, "GRPO001"),
        ("rloo", {"sync_ref_model": True, "beta": 0.0}, "GRPO004"),
        ("distillation", {"use_vllm": True, "use_cpu": True}, "VLLM006"),
    ],
    indirect=["copied"],
)
def test_a_method_written_afresh_is_held_to_the_shared_rules(
    copied: type[TrainSpec], fields: dict[str, Any], told: str
) -> None:
    images = fields.get("dataset") == "me/images"
    dataset = replace(FACTS.dataset, columns=(*COLUMNS, "images") if images else COLUMNS)
    spec = copied(**required(copied.METHOD.name, GIVEN) | fields)
    report = hft.check(spec, facts=replace(FACTS, dataset=dataset))
    assert told in [problem.code for problem in report.problems], str(report)


def test_a_registered_copy_is_found_by_its_name() -> None:
    class Copied(hft.SFT):
        method: Literal["copied_sft"] = "copied_sft"

    registry.method("copied_sft", label="SFT", trainer="SFTTrainer", config="SFTConfig")(Copied)
    try:
        assert hft.METHODS["copied_sft"] is Copied
        assert "copied_sft" in list(hft.METHODS)
        fields = {"model": "org/model", "dataset": "org/data", "hub_model_id": "me/model"}
        report = hft.check({"method": "copied_sft", **fields}, facts=FACTS)
        assert report.ok, str(report)
    finally:
        registry.forget("copied_sft")
    assert "copied_sft" not in hft.METHODS


def test_a_method_that_does_not_say_what_it_trains_is_refused() -> None:
    class Silent(TrainSpec):
        method: Literal["silent"] = "silent"
        METHOD: ClassVar[Any]

    with pytest.raises(TypeError, match="Silent must declare TRAINING"):
        registry.method("silent", label="Silent", trainer="SilentTrainer", config="SilentConfig")(Silent)
    assert "silent" not in hft.METHODS


def test_a_declaration_leaves_nothing_out() -> None:
    from hfjobs_trainer.specs.training import Training

    with pytest.raises(TypeError, match="missing 20 required keyword-only arguments"):
        Training()  # pyright: ignore[reportCallIssue]
