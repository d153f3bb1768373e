"""What the methods ask of a GPU beside the model that is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.planning.arguments.precision import settle_precision
from hfjobs_trainer.planning.duration.lengths import PROMPT_TOKENS
from hfjobs_trainer.planning.layout import given_layout
from hfjobs_trainer.planning.memory.closed_form import Workload, estimate_memory
from hfjobs_trainer.planning.memory.workload import generated_at_once, workload_of
from hfjobs_trainer.planning.understand import understand

SMALL = ModelFacts(
    model_type="qwen2",
    num_parameters=494_032_768,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    vocab_size=151_936,
    tie_word_embeddings=True,
)
LARGE = replace(SMALL, num_parameters=7_000_000_000)
BASE: dict[str, Any] = {"model": "me/model", "dataset": "me/data"}


def asked(spec: Any, **facts: Any) -> Any:
    known = Facts(model=SMALL, **facts)
    run = understand(spec, known)
    return workload_of(run, settle_precision(run, None), given_layout(run, 1))


def test_a_teacher_is_held_in_half_precision() -> None:
    spec = hft.GKD(**BASE, teacher_model="me/teacher")
    assert asked(spec, teacher=LARGE).beside_bytes == 2 * 7e9
    assert asked(spec.replace(bf16=False), teacher=LARGE).beside_bytes == 4 * 7e9


def test_ppo_holds_a_reward_model_and_trains_a_value_model() -> None:
    spec = hft.PPO(**BASE, reward_model="me/reward", per_device_train_batch_size=4, response_length=100)
    logits = 4 * 4 * 100 * 151_936
    assert asked(spec, reward_model=LARGE).beside_bytes == 2 * 7e9 + 16 * 7e9 + logits
    two = spec.replace(value_model="me/value")
    assert asked(two, reward_model=LARGE, value_model=SMALL).beside_bytes == 2 * 7e9 + 16 * 494_032_768 + logits
    assert not asked(spec).gradient_checkpointing


def test_reward_models_are_held_as_the_model_is_loaded() -> None:
    spec = hft.GRPO(**BASE, reward_funcs=["accuracy_reward", "me/judge", "me/judge", "./mine"], lora=hft.LoRA())
    known = (LARGE, LARGE, SMALL)
    assert asked(spec, reward_models=known).beside_bytes == 2 * (7e9 + 7e9 + 494_032_768)
    assert asked(spec.replace(lora=None), reward_models=known).beside_bytes == 4 * (7e9 + 7e9 + 494_032_768)
    assert asked(hft.OnlineDPO(**BASE, reward_funcs="me/judge"), reward_models=(LARGE,)).beside_bytes == 4 * 7e9
    assert asked(spec.replace(reward_funcs="accuracy_reward")).beside_bytes == 0


@pytest.mark.parametrize(
    ("spec", "known", "unknown"),
    [
        (hft.GKD(**BASE, teacher_model="me/teacher"), {}, ("the size of me/teacher",)),
        (hft.GKD(**BASE, teacher_model="me/teacher"), {"teacher": LARGE}, ()),
        (hft.PPO(**BASE, reward_model="me/a", value_model="me/b"), {"value_model": SMALL}, ("the size of me/a",)),
        (hft.RLOO(**BASE, reward_funcs=["me/a", "think_format_reward"]), {}, ("the size of me/a",)),
        (
            hft.GRPO(**BASE, reward_funcs=["me/a", "me/b"]),
            {"reward_models": (LARGE, ModelFacts(exists=True))},
            ("the size of me/b",),
        ),
    ],
)
def test_a_model_of_unknown_size_leaves_memory_unknown(spec: Any, known: Any, unknown: tuple[str, ...]) -> None:
    workload = asked(spec, **known)
    assert workload.unknown == unknown
    assert (estimate_memory(workload) is None) == bool(unknown)


@pytest.mark.parametrize(("strategy", "parts"), [("ddp", 1), ("fsdp1", 1), ("fsdp2", 1), ("zero2", 1), ("zero3", 4)])
def test_a_reward_model_is_spread_by_the_last_stage_of_deepspeed_alone(strategy: str, parts: int) -> None:
    alone = Workload.of(hft.GRPO.TRAINING, model=SMALL, strategy=strategy)
    without, beside = (estimate_memory(each, 4) for each in (alone, replace(alone, beside_bytes=8e9)))
    assert without is not None
    assert beside is not None
    assert beside.reference_model - without.reference_model == 8e9 / parts


@pytest.mark.parametrize(
    ("spec", "tokens"),
    [
        (hft.ORPO(**BASE), 1024),
        (hft.KTO(**BASE, max_length=256), 256),
        (hft.GKD(**BASE, teacher_model="me/teacher"), 1024),
        (hft.OnlineDPO(**BASE, reward_funcs="think_format_reward"), 512),
        (hft.RLOO(**BASE, reward_funcs="think_format_reward", max_completion_length=64), PROMPT_TOKENS + 64),
        (hft.Distillation(**BASE, teacher_model="me/teacher", max_completion_length=64), PROMPT_TOKENS + 64),
        (hft.PPO(**BASE, reward_model="me/reward", response_length=64), PROMPT_TOKENS + 64),
    ],
    ids=lambda value: value.METHOD.name if hasattr(value, "METHOD") else str(value),
)
def test_a_row_is_as_long_as_the_method_lets_it_be(spec: Any, tokens: int) -> None:
    assert asked(spec).sequence_length == tokens


def lengths(longest: float, unit: Any = "tokens", prompt_mean: float | None = None) -> DatasetFacts:
    quantiles = tuple(longest * step / 20 for step in range(1, 21))
    return DatasetFacts(lengths=LengthFacts(unit, 100, longest / 2, quantiles, prompt_mean))


@pytest.mark.parametrize(
    ("spec", "data", "tokens"),
    [
        (hft.SFT(**BASE, max_length=None), lengths(40_000), 40_000),
        (hft.SFT(**BASE, max_length=None), lengths(5000, "characters"), 3000),
        (hft.SFT(**BASE, max_length=512), lengths(40_000), 512),
        (hft.GRPO(**BASE, reward_funcs="think_format_reward", max_completion_length=64), lengths(30_000), 30_064),
        # prompts are a quarter of the rows
        (
            hft.Distillation(**BASE, teacher_model="me/t", max_completion_length=64),
            lengths(8000, prompt_mean=1000),
            2064,
        ),
    ],
    ids=["rows", "characters", "truncated", "prompts", "prompts of rows"],
)
def test_what_nothing_truncates_is_as_long_as_the_longest_row(spec: Any, data: DatasetFacts, tokens: int) -> None:
    found = asked(spec, dataset=data)
    assert (found.sequence_length, found.assumed) == (tokens, ())


@pytest.mark.parametrize(
    ("spec", "assumed"),
    [
        (hft.SFT(**BASE, max_length=None), ("rows of 4,096 tokens",)),
        (hft.SFT(**BASE), ()),
        (hft.GRPO(**BASE, reward_funcs="think_format_reward"), ("prompts of 512 tokens",)),
        (
            hft.GRPO(**BASE, reward_funcs="think_format_reward", max_completion_length=None),
            ("prompts of 512 tokens", "completions of 4,096 tokens"),
        ),
    ],
)
def test_an_estimate_says_which_lengths_it_assumes(spec: Any, assumed: tuple[str, ...]) -> None:
    memory = estimate_memory(asked(spec))
    assert memory is not None
    assert memory.assumed == assumed


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_reference_model_is_held_for_the_kl_term(method: str) -> None:
    spec = hft.METHODS[method](**BASE, reward_funcs="think_format_reward", beta=0.1)
    assert asked(spec).reference_model is True
    assert asked(spec.replace(beta=0.0)).reference_model is False
    assert asked(spec.replace(lora={"r": 8})).reference_model is False


def test_evaluation_counts_where_it_is_a_forward_pass() -> None:
    evaluating: dict[str, Any] = {"eval_fraction": 0.1, "eval_strategy": "epoch", "per_device_eval_batch_size": 16}
    assert asked(hft.SFT(**BASE, **evaluating)).eval_batch_size == 16
    assert asked(hft.SFT(**BASE)).eval_batch_size == 0
    assert asked(hft.OnlineDPO(**BASE, **evaluating, reward_funcs=["me/reward"])).eval_batch_size == 0


def test_what_saves_memory_is_asked_for() -> None:
    found = asked(hft.SFT(**BASE, activation_offloading=True, lora=hft.LoRA(use_dora=True)))
    assert found.activation_offloading
    assert found.lora_dora
    synced = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
    assert asked(hft.SFT(**BASE, accelerator_config=synced)).sync_each_batch
    assert not asked(hft.SFT(**BASE)).sync_each_batch


@pytest.mark.parametrize(
    ("fields", "at_once"),
    [
        ({}, None),
        ({"steps_per_generation": 16}, 8 * 16),
        ({"generation_batch_size": 512}, 512 // 4),
        ({"steps_per_generation": 16, "use_vllm": True}, 0),
    ],
)
@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_answers_are_generated_for_as_many_batches_as_is_said(method: str, fields: Any, at_once: int | None) -> None:
    spec = hft.METHODS[method](**BASE, reward_funcs="think_format_reward", **fields)
    run = understand(spec, Facts())
    assert generated_at_once(run, given_layout(run, 4)) == at_once


def test_more_answers_at_once_take_more_memory_on_each_machine() -> None:
    common = {**BASE, "reward_funcs": "think_format_reward", "max_completion_length": 2048, "timeout": "1h"}
    known = Facts(model=SMALL)
    plain, many, spread = (
        hft.plan(hft.GRPO(**common, hardware=flavor, **fields), facts=known).estimate
        for flavor, fields in (
            ("a100-large", {"per_device_train_batch_size": 8}),
            ("a100-large", {"generation_batch_size": 1024}),
            ("a100x4", {"generation_batch_size": 1024}),
        )
    )
    assert plain is not None
    assert plain.memory is not None
    assert many is not None
    assert many.memory is not None
    assert spread is not None
    assert spread.memory is not None
    assert many.memory.moment == spread.memory.moment == "generation"
    assert many.memory.kv_cache == 4 * spread.memory.kv_cache
    assert many.memory.total_bytes > plain.memory.total_bytes
