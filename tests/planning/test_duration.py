"""How long a run takes and what it costs: by hand, and how it changes with what is asked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from planning.known_models import LLAMA_8B, QWEN_05B, QWEN_7B

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.planning.arguments.precision import settle_precision
from hfjobs_trainer.planning.duration.amounts import Amounts, amounts_of
from hfjobs_trainer.planning.duration.arithmetic import Arithmetic, arithmetic_of
from hfjobs_trainer.planning.duration.estimate import DurationEstimate, billed_usd, estimate_duration
from hfjobs_trainer.planning.duration.pace import Setup
from hfjobs_trainer.planning.duration.ranges import Range, format_seconds
from hfjobs_trainer.planning.duration.rows import row_lengths
from hfjobs_trainer.planning.hardware.gpus import Gpu, find_gpu
from hfjobs_trainer.planning.memory.closed_form import Workload
from hfjobs_trainer.planning.understand import understand

BASE: dict[str, Any] = {"model": "me/model", "dataset": "me/data"}
FIXED = LengthFacts("tokens", sampled=500, mean=1024.0, quantiles=(1024.0,) * 20)
# evenly spread between 0 and 1000 tokens
SPREAD = LengthFacts("tokens", sampled=500, mean=500.0, quantiles=tuple(50.0 * step for step in range(1, 21)))
# every spec of a method, with what it cannot do without
METHODS = {
    "sft": hft.SFT(**BASE),
    "dpo": hft.DPO(**BASE),
    "kto": hft.KTO(**BASE),
    "reward": hft.Reward(**BASE),
    "orpo": hft.ORPO(**BASE),
    "cpo": hft.CPO(**BASE),
    "grpo": hft.GRPO(**BASE, reward_funcs="think_format_reward"),
    "rloo": hft.RLOO(**BASE, reward_funcs="think_format_reward"),
    "online_dpo": hft.OnlineDPO(**BASE, reward_funcs="think_format_reward"),
    "ppo": hft.PPO(**BASE, reward_model="me/reward"),
    "gkd": hft.GKD(**BASE, teacher_model="me/teacher"),
    "distillation": hft.Distillation(**BASE, teacher_model="me/teacher"),
}
ONLINE = ("grpo", "rloo", "online_dpo", "ppo", "gkd", "distillation")


def gpu(name: str) -> Gpu:
    found = find_gpu(name)
    assert found is not None
    return found


def facts_of(
    lengths: LengthFacts | None = FIXED, rows: int | None = 1000, model: ModelFacts = LLAMA_8B, **more: Any
) -> Facts:
    return Facts(model=model, dataset=DatasetFacts(num_rows=rows, lengths=lengths), **more)


def planned_amounts(spec: Any, facts: Facts) -> Amounts | None:
    run = understand(spec, facts)
    return amounts_of(run, settle_precision(run, None))


def amounts(spec: Any, facts: Facts | None = None) -> Amounts:
    known = facts or facts_of()
    found = planned_amounts(spec, known)
    assert found is not None
    return found


def estimate(spec: Any, facts: Facts | None = None, **setup: Any) -> DurationEstimate:
    return estimate_duration(amounts(spec, facts), Setup(**{"gpu": gpu("A100"), "usd_per_hour": 2.5} | setup))


def costs(**fields: Any) -> Arithmetic:
    found = arithmetic_of(Workload(**{"model": LLAMA_8B, "dtype": "bfloat16"} | fields))
    assert found is not None
    return found


# Llama 3.1 8B by hand: 32 layers, hidden and query width 4096, 128,256 tokens, 8,030,261,248 parameters
HEAD = 128_256 * 4096
BODY = 8_030_261_248 - 2 * HEAD
ATTENTION = 32 * 4096


def test_flops_of_a_dense_model_are_those_of_a_hand() -> None:
    full, context = costs(tuning="full"), 2048
    forward = 2 * (BODY + HEAD) + 2 * ATTENTION * context
    assert forward == 15_546_720_256
    assert full.forward(context) == forward
    assert full.training(context, recomputes=False) == 3 * forward
    assert full.training(context, recomputes=True) == 4 * forward - 2 * HEAD


def test_an_adapter_saves_the_gradient_of_the_weights_not_of_the_activations() -> None:
    lora, context = costs(tuning="lora", lora_r=16, lora_targets=("q_proj", "v_proj")), 2048
    # rank 16 on queries (4096 to 4096) and values (4096 to 1024) of 32 layers
    adapter = 32 * 16 * ((4096 + 4096) + (4096 + 1024))
    assert lora.trained == adapter == 6_815_744
    linear, attention = 2 * (BODY + HEAD), 2 * ATTENTION * context
    assert lora.training(context, recomputes=False) == 2 * linear + 3 * attention + 6 * adapter


def test_of_experts_only_those_that_a_token_passes_count() -> None:
    # Qwen3-30B-A3B: 48 layers of 128 experts with 3 matrices of 2048 by 768, 8 of them for each token
    sizes = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48, "num_attention_heads": 32}
    sizes |= {"num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151_936, "num_parameters": 30_532_122_624}
    routed = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
    found = costs(model=ModelFacts(model_type="qwen3_moe", tie_word_embeddings=False, **sizes, **routed))
    idle = 48 * 120 * 3 * 2048 * 768
    assert found.body == 30_532_122_624 - 2 * 151_936 * 2048 - idle
    # the 3 billion active parameters of its name, embedding and head included
    assert found.body + 2 * found.head == pytest.approx(3.35e9, rel=0.01)
    assert found.experts


def test_a_worked_example_by_hand() -> None:
    """1,000 rows of 1,024 tokens, LoRA on Llama 8B, 4 at a time on one A100 at $2.50 an hour."""
    spec = hft.SFT(**BASE, lora=hft.LoRA(target_modules=["q_proj", "v_proj"]), num_train_epochs=1)
    found = estimate(spec, per_device_train_batch_size=4)
    assert found.steps == 250
    assert found.tokens == Range.exact(1_024_000)
    # 2 passes of the linear layers, 3 of attention, the adapter, and the layers once more
    flops = 4 * (BODY + HEAD) + 6 * ATTENTION * 1024 + 6 * 6_815_744 + 2 * (BODY + ATTENTION * 1024)
    # between the products of a layer, bytes per token: two norms of 36 a value, two sums of 6, turned queries and keys,
    # the gated activation, and of the adapters' inputs casts of 12 and dropout of 5, of outputs 10
    layer = 2 * 4096 * (36 + 6) + 5120 * 18 + 14_336 * 10 + 2 * 4096 * (12 + 5) + 5120 * 10
    moved = 3 * (32 * layer + 4096 * 36)
    # 63% of 312 TFLOPS, 85% of 2,039 GB/s; the adapter's optimizer moves 28 bytes per value at 70% of that
    token = flops / (0.63 * 312e12) + moved / (0.85 * 2039e9)
    seconds = 250 * (4096 * token + 28 * 6_815_744 / (0.7 * 2039e9))
    assert seconds == pytest.approx(278.89, abs=0.01)
    assert found.parts["training"].expected == pytest.approx(seconds, rel=1e-6)
    # a machine in 60 s, packages in 90 s, 16 GB at 300 MB/s
    assert found.parts["start"].expected == pytest.approx(150 + 2 * 8_030_261_248 / 0.3e9)
    # 250,000 tokens a second
    assert found.parts["data"].expected == pytest.approx(4.096)
    # once at the end: 4 bytes per value of the adapter and 8 of its moments at 400 MB/s
    assert found.parts["checkpoints"].expected == pytest.approx(12 * 6_815_744 / 0.4e9)
    assert set(found.parts) == {"start", "data", "training", "checkpoints"}
    # 487 s are 9 started minutes
    assert found.seconds.expected == pytest.approx(487, abs=0.5)
    assert found.usd.expected == pytest.approx(9 * 2.5 / 60)
    assert found.seconds.low < found.seconds.expected < found.seconds.high


def test_every_started_minute_is_billed() -> None:
    assert billed_usd(60, 6.0) == pytest.approx(0.1)
    assert billed_usd(60.1, 6.0) == pytest.approx(0.2)
    assert billed_usd(3599, 6.0) == billed_usd(3600, 6.0) == pytest.approx(6.0)
    assert billed_usd(0, 6.0) == 0


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_time_whose_bounds_are_in_order(name: str) -> None:
    spec = METHODS[name].replace(eval_fraction=0.1, eval_strategy="epoch", output={"hub_model_id": "me/x"})
    for setup in ({}, {"num_gpus": 8, "strategy": "fsdp2"}, {"num_gpus": 16, "nodes": 2, "strategy": "zero3"}):
        found = estimate(spec, facts_of(SPREAD, model=QWEN_05B), **setup)
        assert ("generation" in found.parts) == (name in ONLINE)
        assert {"start", "data", "training", "evaluation", "checkpoints", "push"} <= set(found.parts)
        for part in (*found.parts.values(), found.seconds, found.usd, found.tokens, found.tokens_per_second):
            assert 0 < part.low <= part.expected <= part.high < math.inf
        assert found.seconds.expected == pytest.approx(sum(part.expected for part in found.parts.values()))
        assert found.steps > 0


@pytest.mark.parametrize("name", METHODS)
def test_more_rows_take_longer_and_longer_rows_too(name: str) -> None:
    spec = METHODS[name]
    few, many = (estimate(spec, facts_of(SPREAD, rows)) for rows in (1000, 2000))
    assert many.seconds.expected > few.seconds.expected
    assert many.steps == 2 * few.steps
    short = replace(SPREAD, mean=250.0, quantiles=tuple(length / 2 for length in SPREAD.quantiles))
    # with 8 rows of a 8B model at a time, arithmetic decides
    assert estimate(spec, facts_of(short)).parts["training"].expected < few.parts["training"].expected


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "zero2", "zero3"])
def test_more_gpus_are_not_slower_by_much(strategy: str) -> None:
    spec = hft.SFT(**BASE)
    alone = estimate(spec, facts_of(rows=20_000), num_gpus=1).parts["training"]
    for count in (2, 4, 8):
        together = estimate(spec, facts_of(rows=20_000), num_gpus=count, strategy=strategy).parts["training"]
        # where the optimizer's work is shared too, they gain a little more than their number
        assert 0.9 * alone.expected / count <= together.expected < alone.expected


def test_gpus_that_are_joined_worse_gain_less() -> None:
    spec, rows = hft.SFT(**BASE), facts_of(rows=20_000)
    linked = gpu("A100")
    over_pcie = replace(linked, link="pcie", link_gb_s=31.5)
    for strategy in ("ddp", "fsdp2", "zero3"):
        setup = {"num_gpus": 4, "strategy": strategy}
        by_nvlink, by_pcie = (estimate(spec, rows, gpu=one, **setup) for one in (linked, over_pcie))
        assert by_nvlink.parts["training"].expected < by_pcie.parts["training"].expected
        two_machines = estimate(spec, rows, **setup, nodes=2)
        assert by_nvlink.parts["training"].expected < two_machines.parts["training"].expected
        assert any("network" in what for what in two_machines.assumed)


def test_a_run_without_steps_takes_no_time_to_train() -> None:
    found = estimate(hft.SFT(**BASE, num_train_epochs=0))
    assert (found.steps, found.tokens, found.tokens_per_second) == (0, Range.exact(0), Range.exact(0))


def test_max_steps_wins_over_epochs_and_rows() -> None:
    assert estimate(hft.SFT(**BASE, max_steps=7)).steps == 7
    assert estimate(hft.SFT(**BASE, max_steps=7), facts_of(rows=None)).steps == 7
    assert estimate(hft.SFT(**BASE, num_train_epochs=2), per_device_train_batch_size=8).steps == 2 * 125
    accumulated = estimate(hft.SFT(**BASE, num_train_epochs=1), gradient_accumulation_steps=4, num_gpus=2)
    assert accumulated.steps == 16  # 1,000 rows, 64 at a time


def test_ppo_counts_the_answers_that_it_is_told() -> None:
    told = hft.PPO(**BASE, reward_model="me/reward", total_episodes=500)
    assert estimate(told, per_device_train_batch_size=5).steps == 100


def test_rows_are_those_that_are_trained_on() -> None:
    assert amounts(hft.SFT(**BASE)).rows == 1000
    assert amounts(hft.SFT(**BASE, eval_fraction=0.25)).rows == 750
    assert amounts(hft.SFT(**BASE, eval_fraction=0.25, eval_strategy="epoch")).eval_rows == 250
    assert amounts(hft.SFT(model="me/model", dataset=hft.Dataset(id="me/data", num_samples=10))).rows == 10
    grouped = amounts(hft.GRPO(**BASE, reward_funcs="think_format_reward", num_generations=4, num_iterations=2))
    assert grouped.examples_per_row == 8


def test_packing_takes_fewer_steps_and_no_padding() -> None:
    plain, packed = (estimate(hft.SFT(**BASE, packing=packing), facts_of(SPREAD)) for packing in (False, True))
    # two rows of 500 tokens fill a sequence of 1,024
    assert packed.steps == pytest.approx(plain.steps / 2, rel=0.05)
    assert packed.parts["training"].expected < plain.parts["training"].expected
    assert packed.tokens.expected == pytest.approx(plain.tokens.expected, rel=0.03)


def test_a_batch_is_padded_to_its_longest_row() -> None:
    lengths = row_lengths(SPREAD, None, 4096)
    assert lengths.mean.expected == pytest.approx(500)
    assert lengths.longest_of(1) == 1
    # of n draws between 0 and 1, the largest is n / (n + 1) on average; here twice the mean is 1
    assert lengths.longest_of(8) == pytest.approx(2 * 8 / 9, rel=0.02)
    assert lengths.longest_of(2) < lengths.longest_of(8) < lengths.longest_of(64) <= 2
    asked, setup = amounts(hft.SFT(**BASE, lora=hft.LoRA()), facts_of(SPREAD)), Setup(gpu("A100"))
    padded, flat = (estimate_duration(replace(asked, padded=on), setup).tokens_per_second for on in (True, False))
    assert flat.expected / padded.expected == pytest.approx(lengths.longest_of(8), rel=0.02)


def test_rows_are_cut_at_max_length() -> None:
    lengths = row_lengths(SPREAD, 500, 4096)
    # half of the rows have 500 tokens, the others 250 on average
    assert lengths.mean.expected == pytest.approx(375)
    assert lengths.mean.high <= 500
    assert row_lengths(FIXED, 512, 4096).mean == Range.exact(512)
    assert amounts(hft.SFT(**BASE, max_length=500), facts_of(SPREAD)).lengths.mean.expected == pytest.approx(375)
    # what does not fit into a packed sequence goes on in the next, if it is so asked
    split = hft.SFT(**BASE, max_length=500, packing=True, packing_strategy="wrapped")
    assert amounts(split, facts_of(SPREAD)).lengths.mean.expected == pytest.approx(500)


def test_what_is_not_known_is_listed() -> None:
    known, unknown = estimate(hft.SFT(**BASE)), estimate(hft.SFT(**BASE), facts_of(None))
    assert not any("lengths unknown" in what for what in known.assumed)
    assert any("row lengths unknown, assumed 512 tokens" in what for what in unknown.assumed)
    assert unknown.tokens.low < 0.3 * unknown.tokens.high
    in_characters = estimate(hft.SFT(**BASE), facts_of(replace(FIXED, unit="characters")))
    assert "4 characters per token" in in_characters.assumed
    assert in_characters.tokens.expected == pytest.approx(known.tokens.expected / 4)
    borrowed = estimate_on("A10G")
    assert any("no runs published" in what for what in borrowed.assumed)
    assert any("of the peak of NVIDIA A10G" in what for what in borrowed.basis)
    assert not any("no runs published" in what for what in known.assumed)
    online = METHODS["grpo"]
    assert any("completions of 50% of max_completion_length=512" in what for what in estimate(online).assumed)
    taught = estimate(METHODS["gkd"])
    assert "a teacher as large as the model" in taught.assumed
    known_teacher = estimate(METHODS["gkd"], facts_of(teacher=QWEN_7B))
    assert "a teacher as large as the model" not in known_teacher.assumed
    seen = replace(LLAMA_8B, is_vision=True)
    assert any("image tokens" in what for what in estimate(hft.SFT(**BASE), facts_of(model=seen)).assumed)


def estimate_on(name: str) -> DurationEstimate:
    return estimate(hft.SFT(**BASE), gpu=gpu(name))


def test_where_too_little_is_known_there_is_no_estimate_and_the_reason_is_told() -> None:
    spec = hft.SFT(**BASE)
    for facts, missing in (
        (facts_of(model=ModelFacts()), ("the size of the model",)),
        (facts_of(rows=None), ("the rows of the dataset (or max_steps)",)),
        (Facts(), ("the size of the model", "the rows of the dataset (or max_steps)")),
    ):
        assert understand(spec, facts).unknown_amounts == missing
        assert planned_amounts(spec, facts) is None
    assert understand(spec, facts_of()).unknown_amounts == ()


def test_a_reference_model_and_a_teacher_take_their_time() -> None:
    def training(spec: Any, **more: Any) -> float:
        return estimate(spec, facts_of(**more)).parts["training"].expected

    once, twice = training(hft.ORPO(**BASE)), training(hft.DPO(**BASE))
    # pairs, four passes with checkpointing; the reference adds one forward pass
    assert twice / once == pytest.approx(5 / 4, rel=0.02)
    ready = hft.DPO(**BASE, precompute_ref_log_probs=True)
    assert once < training(ready) < twice
    small, large = (training(METHODS["gkd"], teacher=teacher) for teacher in (QWEN_05B, QWEN_7B))
    assert small < large
    assert training(METHODS["kto"]) > training(hft.SFT(**BASE))
    assert training(hft.GRPO(**BASE, reward_funcs="think_format_reward", beta=0.1)) > training(METHODS["grpo"])


def test_vllm_writes_answers_faster() -> None:
    plain = hft.GRPO(**BASE, reward_funcs="think_format_reward")
    slow, fast = estimate(plain).parts["generation"], estimate(plain.replace(use_vllm=True)).parts["generation"]
    assert fast.expected < slow.expected / 3
    longer = estimate(plain.replace(max_completion_length=1024)).parts["generation"]
    assert longer.expected > 1.8 * slow.expected
    # the same answers serve twice as many steps
    reused = estimate(plain.replace(num_iterations=2))
    assert reused.parts["generation"].expected == pytest.approx(slow.expected, rel=0.01)
    assert reused.steps == 2 * estimate(plain).steps


def test_generation_with_transformers_is_near_what_was_published() -> None:
    """TRL's notebooks: 8 answers of 256 tokens and a step of training of a 7B model with QLoRA, seconds."""
    fields: dict[str, Any] = {"max_completion_length": 256, "max_steps": 1, "quantization": "4bit", "lora": hft.LoRA()}
    spec = hft.GRPO(**BASE, reward_funcs="think_format_reward", **fields)
    for name, seconds in (("T4", 94), ("A100-40", 33), ("A100", 25)):
        parts = estimate(spec, facts_of(None, model=QWEN_7B), gpu=gpu(name)).parts
        whole = parts["training"] + parts["generation"]
        assert seconds in whole
        assert whole.expected == pytest.approx(seconds, rel=0.5)


def test_evaluations_are_counted_as_the_trainer_makes_them() -> None:
    def seconds(**fields: Any) -> float:
        spec = hft.SFT(**BASE, eval_fraction=0.2, num_train_epochs=2, **fields)
        found = estimate(spec).parts.get("evaluation")
        return found.expected if found else 0.0

    assert seconds() == 0
    once = seconds(eval_strategy="epoch") / 2
    # 800 rows, 8 at a time, twice: 200 steps
    assert seconds(eval_strategy="steps", eval_steps=50) == pytest.approx(4 * once)
    assert seconds(eval_strategy="steps", eval_steps=0.1) == pytest.approx(10 * once)
    assert seconds(eval_strategy="epoch", eval_on_start=True) == pytest.approx(3 * once)
    assert seconds(eval_strategy="steps") == pytest.approx(20 * once)  # every logging_steps


def test_checkpoints_weigh_what_is_trained() -> None:
    def seconds(**fields: Any) -> float:
        return estimate(hft.SFT(**BASE, num_train_epochs=1, **fields)).parts["checkpoints"].expected

    # 4 bytes of weights and 8 of moments per parameter, once at the end
    assert seconds() == pytest.approx(12 * 8_030_261_248 / 0.4e9)
    assert seconds(save_steps=25) == pytest.approx(6 * seconds())
    assert seconds(save_only_model=True) == pytest.approx(seconds() / 3)
    assert seconds(lora=hft.LoRA()) < seconds() / 100


def test_float32_arithmetic_is_far_slower() -> None:
    half, single = estimate(hft.SFT(**BASE)), estimate(hft.SFT(**BASE, bf16=False))
    assert single.parts["training"].expected > 5 * half.parts["training"].expected
    assert any("float32" in what for what in single.assumed)


def test_recomputing_activations_takes_a_forward_pass_more() -> None:
    spec = hft.SFT(**BASE)
    stored, recomputed = (estimate(spec, gradient_checkpointing=on).parts["training"].expected for on in (False, True))
    assert 1.2 < recomputed / stored < 4 / 3


def test_ranges_add_up_and_multiply_bound_by_bound() -> None:
    assert Range(1, 2, 3) + Range(1, 1, 1) == Range(2, 3, 4) == Range(1, 2, 3) + 1
    assert Range(1, 2, 3) * Range(2, 3, 4) == Range(2, 6, 12)
    assert 2 * Range(1, 2, 3) == Range(2, 4, 6)
    assert sum([Range(1, 2, 3), Range(1, 2, 3)], Range.exact(0)) == Range(2, 4, 6)
    assert 3 in Range(1, 2, 3)
    assert 3.1 not in Range(1, 2, 3)


def test_ranges_read_as_people_say_them() -> None:
    assert str(Range(900, 1234, 1500)) == "1,234 (900 to 1,500)"
    assert str(Range.exact(5)) == "5"
    assert Range(5100, 7800, 13_200).as_duration() == "2 h 10 min (1 h 25 min to 3 h 40 min)"
    assert Range(3.549, 5.42, 1234.5).as_usd() == "$5.42 ($3.55 to $1,234.50)"
    assert Range.exact(1.5).as_usd() == "$1.50"
    said = {45: "45 s", 89.6: "90 s", 720: "12 min", 3600: "1 h", 7800: "2 h 10 min", 273_600: "3 d 4 h"}
    assert {seconds: format_seconds(seconds) for seconds in said} == said


def test_an_estimate_prints_its_parts_and_what_is_assumed() -> None:
    lines = str(estimate(hft.SFT(**BASE), facts_of(None))).splitlines()
    assert lines[0].endswith("375 steps")
    assert [line.split()[0] for line in lines[1:5]] == ["start", "data", "training", "checkpoints"]
    assert lines[5].startswith("  row lengths unknown, assumed")
