"""How a model is spread: what fits is copied, what does not is cut, and what cannot be cut is refused."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts, ModelFacts
from hfjobs_trainer.planning.arguments.strategies import SHARDED
from hfjobs_trainer.planning.layout import layouts
from hfjobs_trainer.planning.memory.closed_form import MemoryEstimate, Workload, estimate_memory
from hfjobs_trainer.planning.memory.stack import Stack
from hfjobs_trainer.planning.understand import understand
from tests.planning.known_models import LLAMA_8B, LLAMA_70B, QWEN_05B, QWEN_7B


def plan(model: ModelFacts, **fields: Any) -> hft.Plan:
    common: dict[str, Any] = {
        "model": "me/model",
        "dataset": "me/data",
        "timeout": "3h",
        "per_device_train_batch_size": 1,
    }
    return hft.plan(hft.SFT(**common | fields), facts=Facts(model=model))


def decided(made: hft.Plan) -> dict[str, Any]:
    return {decision.path: decision.value for decision in made.decisions}


def estimate(model: ModelFacts, num_gpus: int = 1, **fields: Any) -> MemoryEstimate:
    found = estimate_memory(Workload(model, per_device_train_batch_size=1, **fields), num_gpus)
    assert found is not None
    return found


def test_what_fits_one_gpu_gets_one() -> None:
    made = plan(QWEN_05B)
    assert made.flavor is not None
    assert made.flavor.num_gpus == 1
    assert not {"hardware.strategy", "ddp_timeout"} & decided(made).keys()
    assert "sharding(" not in made.script


def test_what_fits_no_gpu_is_spread_over_several() -> None:
    made = plan(LLAMA_8B)
    assert made.flavor is not None
    assert made.flavor.num_gpus > 1
    assert decided(made)["hardware.strategy"] == "fsdp2"
    assert decided(made)["ddp_timeout"] == 7200
    assert '**sharding(\n            "fsdp2",\n            fsdp=True,' in made.script
    assert "relaunch(gpus=0, models={MODEL: None})" in made.script
    assert made.estimate is not None
    assert made.estimate.memory is not None
    assert made.estimate.memory.strategy == "fsdp2"
    assert made.estimate.memory.fits(made.flavor.usable_gpu_memory_gib or 0.0, made.flavor.num_gpus)


def test_what_fits_nowhere_has_no_flavor() -> None:
    assert plan(LLAMA_70B).flavor is None


@pytest.mark.parametrize(("model", "strategy"), [(QWEN_05B, "ddp"), (QWEN_7B, "fsdp2")])
def test_several_gpus_that_were_named_get_copies_if_they_hold_them(model: ModelFacts, strategy: str) -> None:
    assert decided(plan(model, hardware="a100x4"))["hardware.strategy"] == strategy


def test_one_gpu_is_never_told_to_spread() -> None:
    made = plan(LLAMA_8B, hardware="a100-large")
    assert "hardware.strategy" not in decided(made)
    assert "sharding(" not in made.script


def test_quantized_weights_are_not_spread_unasked() -> None:
    made = plan(LLAMA_70B, lora=hft.LoRA(), quantization="4bit", hardware="l4x4")
    assert decided(made)["hardware.strategy"] == "ddp"
    assert '"bitsandbytes==' in made.script


CANNOT_BE_SPREAD: list[dict[str, Any]] = [
    {"optim": "adamw_8bit"},
    {"optim": "paged_adamw_8bit"},
    {"optim": "adamw_bnb_8bit"},
    {"optim": "lion_32bit"},
    {"lora": {}, "gradient_checkpointing_kwargs": {"selective": True}},
    {"lora": {"adapter": "me/adapter", "merge_first": True}},
    {"lora": {}, "quantization": "4bit"},
]


@pytest.mark.parametrize("image", [None, "me/cuda"])
@pytest.mark.parametrize("fields", CANNOT_BE_SPREAD, ids=str)
def test_auto_spreads_as_a_rule_would_allow(fields: dict[str, Any], image: str | None) -> None:
    spec = hft.SFT(model="me/model", dataset="me/data", image=image, **fields)
    offered = {layout.strategy for layout in layouts(understand(spec, Facts()), 4)}
    for strategy in SHARDED:
        named = hft.check(spec.replace(hardware={"strategy": strategy}), facts=Facts())
        if any(problem.code.startswith("DIST") for problem in named.problems):
            assert strategy not in offered
    assert offered < {"ddp", "fsdp2", "zero2", "zero3"}


def test_an_optimizer_that_needs_whole_parameters_is_told_of_where_nothing_fits() -> None:
    made = plan(LLAMA_8B, optim="paged_adamw_32bit")
    assert made.flavor is None
    (problem,) = [item for item in made.problems if item.code == "HW003"]
    assert 'optim="adamw_torch_fused"' in problem.fix
    assert plan(LLAMA_8B, optim="adamw_torch_fused").flavor is not None


@pytest.mark.parametrize("strategy", ["fsdp1", "fsdp2", "zero1", "zero2", "zero3"])
def test_a_strategy_that_was_named_is_taken_and_looks_for_several_gpus(strategy: str) -> None:
    made = plan(QWEN_05B, hardware=hft.Hardware(strategy=strategy))  # pyright: ignore[reportArgumentType]
    assert made.flavor is not None
    assert made.flavor.num_gpus > 1
    assert "hardware.strategy" not in decided(made)
    assert f'"{strategy}"' in made.script
    assert ('"deepspeed==' in made.script) is strategy.startswith("zero")


def test_what_the_user_wrote_out_is_sent_as_it_is() -> None:
    made = plan(LLAMA_8B, hardware=hft.Hardware(flavor="a100x4", fsdp=True, fsdp_config={"version": 2}))
    assert "sharding(" not in made.script
    assert "fsdp=True" in made.script


def test_a_timeout_that_was_given_is_kept() -> None:
    made = plan(QWEN_05B, hardware="a100x4", ddp_timeout=600)
    assert "ddp_timeout=600" in made.script


def test_each_stage_leaves_less_on_a_gpu() -> None:
    sizes = [
        estimate(QWEN_7B, 8, strategy=strategy).total_bytes for strategy in ("ddp", "zero1", "zero2", "zero3", "fsdp2")
    ]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("strategy", ["fsdp1", "fsdp2", "zero1", "zero2", "zero3"])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_more_gpus_never_need_more_of_each(strategy: str, tuning: Any) -> None:
    sizes = [
        estimate(LLAMA_8B, count, strategy=strategy, tuning=tuning, dtype="bfloat16").total_bytes for count in (2, 4, 8)
    ]
    assert sizes == sorted(sizes, reverse=True)


# Peaks per GPU that their authors published for Llama-3.1-8B and Llama-2-7B, GiB.
@pytest.mark.parametrize(
    ("batch", "head", "published"),
    [(32, "fused", 37.2), (32, "full", 52.9), (48, "fused", 39.7)],
)
def test_published_peaks_of_fsdp(batch: int, head: Any, published: float) -> None:
    """Liger's example for transformers: full training on 4 GPUs, 512 tokens a row, in float32 with bf16."""
    common: dict[str, Any] = {"optim": "adamw_torch", "sequence_length": 512}
    workload = Workload(LLAMA_8B, per_device_train_batch_size=batch, head=head, strategy="fsdp1", **common)
    found = estimate_memory(workload, 4)
    assert found is not None
    assert found.total_gib - 0.8 == pytest.approx(published, rel=0.3)


# torch's own peak on each A100, GiB, of rows of 4,096 tokens with fms-acceleration's fast kernels.
FAST = {"head": "fused", "optim": "adamw_torch", "sequence_length": 4096, "attention": "flash_attention_2"}
ADAPTER = {"tuning": "lora", "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj"), "lora_dropout": 0.1}
HALF_LOADED = {**FAST, "dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("batch", "num_gpus", "fields", "published"),
    [
        (4, 1, {}, 74.80),
        # the shards of bf16 weights are float32, so that two GPUs hold as much as one
        (4, 2, {}, 74.80),
        (4, 4, {}, 37.41),
        (16, 4, {}, 56.17),
        (16, 1, ADAPTER, 47.40),
        (16, 2, ADAPTER, 57.23),
        (4, 4, ADAPTER, 17.99),
        (16, 4, ADAPTER | {"quantization": "4bit-double"}, 50.39),
    ],
)
def test_published_peaks_of_accelerate_under_fsdp1(
    batch: int, num_gpus: int, fields: dict[str, Any], published: float
) -> None:
    """Llama-3-8B (foundation-model-stack/fms-acceleration: scripts/benchmarks/refs/a100_80gb_liger.csv)."""
    stack = Stack(lean_norms=True, keeps_inputs=num_gpus > 1 and bool(fields), casts_head=True)
    common: dict[str, Any] = HALF_LOADED | {"strategy": "fsdp1" if num_gpus > 1 else "ddp"}
    found = estimate_memory(
        Workload(LLAMA_8B, per_device_train_batch_size=batch, stack=stack, **common | fields), num_gpus
    )
    assert found is not None
    assert found.allocated_gib == pytest.approx(published, rel=0.04)


def test_what_nvidia_smi_shows_beyond_torch_under_fsdp1() -> None:
    """The same source: 68.93 GiB where torch's own peak was 57.23."""
    stack = Stack(lean_norms=True, keeps_inputs=True, casts_head=True)
    common: dict[str, Any] = {**HALF_LOADED, **ADAPTER, "strategy": "fsdp1", "stack": stack}
    found = estimate_memory(Workload(LLAMA_8B, per_device_train_batch_size=16, **common), 2)
    assert found is not None
    assert found.device_gib == pytest.approx(68.93, rel=0.05)


def test_fsdp2_gathers_embedding_and_head_one_after_the_other() -> None:
    common: dict[str, Any] = {"tuning": "lora", "dtype": "bfloat16", "sequence_length": 16}
    one, two = (estimate(LLAMA_8B, 8, strategy=f"fsdp{version}", **common) for version in (1, 2))
    assert one.buffers - two.buffers == pytest.approx(2 * 128_256 * 4096)


def test_deepspeeds_bucket_has_its_size_however_few_are_trained() -> None:
    common: dict[str, Any] = {"dtype": "bfloat16", "sequence_length": 16, "strategy": "zero2"}
    assert estimate(QWEN_05B, 2, tuning="lora", **common).buffers > 2 * 500_000_000


def test_quantized_weights_take_bits() -> None:
    whole = estimate(LLAMA_8B, tuning="lora", dtype="bfloat16")
    sizes = {
        bits: estimate(LLAMA_8B, tuning="lora", dtype="bfloat16", quantization=bits)  # type: ignore[arg-type]
        for bits in ("8bit", "4bit", "4bit-double")
    }
    totals = [whole.total_bytes, *(size.total_bytes for size in sizes.values())]
    assert totals == sorted(totals, reverse=True)
    # embedding, head and norms stay in the load dtype: 6.98 billion of 8.03 billion weights are packed
    packed = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14_336)
    assert sizes["4bit"].weights == pytest.approx(packed * 0.5625 + (8_030_261_248 - packed) * 2)


@pytest.mark.parametrize("published", [7.4])
def test_published_peak_of_qlora(published: float) -> None:
    """torchtune's table for Llama-3.1-8B: batches of 2 x 2048 tokens, allocated."""
    workload = Workload(
        LLAMA_8B,
        tuning="lora",
        quantization="4bit",
        dtype="bfloat16",
        per_device_train_batch_size=2,
        sequence_length=2048,
    )
    found = estimate_memory(workload)
    assert found is not None
    assert found.total_gib - 0.8 == pytest.approx(published, rel=0.4)
