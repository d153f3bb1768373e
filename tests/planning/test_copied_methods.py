"""A method under another name is planned like the method that it copies: nothing is known by a method's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, LengthFacts
from hfjobs_trainer.facts.dataset import SHARES
from hfjobs_trainer.specs import registry
from hfjobs_trainer.specs.base import TrainSpec
from tests.planning.known_models import LLAMA_8B, QWEN_05B

NEEDED: dict[str, dict[str, Any]] = {
    **{name: {"reward_funcs": ["org/judge", "think_format_reward"]} for name in ("grpo", "rloo", "online_dpo")},
    **{name: {"teacher_model": "org/teacher"} for name in ("distillation", "gkd")},
    "ppo": {"reward_model": "org/judge"},
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


@pytest.fixture
def copied(request: pytest.FixtureRequest) -> Iterator[type[TrainSpec]]:
    base, name = hft.METHODS[request.param], f"copied_{request.param}"
    known = base.METHOD

    class Copied(base):
        method: Literal[name] = name

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
    )(Copied)
    registry.forget(name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("copied", "name"), [(name, name) for name in hft.METHODS], indirect=["copied"])
@pytest.mark.parametrize("facts", [FACTS, Facts()], ids=["known", "unknown"])
def test_a_copy_is_planned_like_its_method(copied: type[TrainSpec], name: str, variant: str, facts: Facts) -> None:
    fields = {"model": "org/model", "dataset": "org/data", **NEEDED.get(name, {}), **VARIANTS[variant]}
    own, copy = hft.METHODS[name](**fields), copied(**fields)
    for backend in ("hub", "local"):
        first, second = (hft.check(spec, facts=facts, backend=backend) for spec in (own, copy))
        assert second.problems == first.problems
        assert second.unchecked == first.unchecked
    first, second = hft.estimate(own, facts=facts), hft.estimate(copy, facts=facts)
    assert second == first
    assert str(hft.compare_flavors(copy, facts=facts)) == str(hft.compare_flavors(own, facts=facts))
    if hft.check(own, facts=facts).ok:
        plans = [hft.plan(spec, facts=facts) for spec in (own, copy)]
        assert plans[1].decisions == plans[0].decisions
        assert len(plans[1].script) > 5000
        assert plans[1].estimate == plans[0].estimate


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

    with pytest.raises(TypeError, match="missing 15 required keyword-only arguments"):
        Training()  # pyright: ignore[reportCallIssue]
