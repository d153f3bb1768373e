"""What is proposed where a run does not fit, or would write answers for days, is what the planner finds to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from benchmarks.picks import facts_of
from hfjobs_trainer.facts import Facts, HardwareFacts, ModelFacts
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.planning.hardware.gpus import all_gpus, find_gpu
from hfjobs_trainer.planning.remedies import ENDLESS_HOURS, UNFIT_CODES
from hfjobs_trainer.problems import Problem
from tests.planning.known_models import LLAMA_8B, LLAMA_70B, QWEN_05B, QWEN_7B
from tests.planning.test_machine import ME, facts, sft

LARGE = replace(LLAMA_70B, num_hidden_layers=160, num_parameters=140_000_000_000)
HUGE = replace(LLAMA_70B, num_hidden_layers=900, num_parameters=800_000_000_000)


def typed(fix: str) -> dict[str, Any]:
    """The fix as Python reads it."""
    found: dict[str, Any] = eval(f"dict({fix})", {"hft": hft})  # noqa: S307 - it is what a user would paste
    return found


def unfit(spec: Any, known: Facts) -> list[Problem]:
    return [each for each in hft.check(spec, facts=known).problems if each.code in UNFIT_CODES]


def errors(spec: Any, known: Facts) -> set[str]:
    return {each.code for each in hft.check(spec, facts=known).problems if each.severity == "error"}


def errors_here(spec: Any) -> set[str]:
    return {each.code for each in hft.plan(spec, facts=facts(LLAMA_70B), backend="local").problems} & UNFIT_CODES


CASES: list[tuple[ModelFacts, dict[str, Any], str]] = [
    # less at once, with as many rows per step
    (LLAMA_8B, {"lora": {"r": 8}, "per_device_train_batch_size": 16}, "gradient_accumulation_steps="),
    (LLAMA_8B, {"lora": {"r": 8}, "per_device_train_batch_size": 16, "global_batch_size": 64}, "per_device_train"),
    (
        LLAMA_8B,
        {"lora": {"r": 8}, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "max_length": 2048},
        "gradient_accumulation_steps=",
    ),
    (
        LLAMA_8B,
        {"lora": {"r": 8}, "gradient_accumulation_steps": 4, "max_length": 2048},
        "per_device_train_batch_size=",
    ),
    # recomputed activations
    (LLAMA_8B, {"lora": {"r": 8}, "gradient_checkpointing": False, "per_device_train_batch_size": 1}, "gradient_ch"),
    (
        LLAMA_8B,
        {"lora": {"r": 8}, "activation_checkpointing": False, "per_device_train_batch_size": 1},
        "activation_checkpointing=True",
    ),
    # sharding, and an optimizer that can be sharded
    (LLAMA_8B, {"hardware": {"flavor": "a100x4", "strategy": "ddp", "max_hours": 9.0}}, 'strategy="auto"'),
    (LLAMA_8B, {"hardware": "a100x4", "optim": "adamw_bnb_8bit"}, 'optim="adamw_torch_fused"'),
    # an adapter, quantized weights
    (QWEN_7B, {}, "lora=hft.LoRA()"),
    (
        QWEN_7B,
        {"lora": {"r": 8, "lora_alpha": 8}, "per_device_train_batch_size": 1, "max_length": 6000},
        "quantization",
    ),
    (LLAMA_8B, {"hardware": {"flavor": "t4-small", "max_usd": 90.0}, "bf16": False}, 'flavor="'),
    # another flavor: what the user set of the hardware stays
    (
        LLAMA_70B,
        {"lora": {"r": 8}, "quantization": "4bit", "hardware": {"flavor": "l4x1", "max_hours": 30.0}},
        "flavor=",
    ),
    (
        LLAMA_8B,
        {
            "hardware": {"flavor": "l4x1", "prefer": "fastest", "num_gpus": 1},
            "lora": {"r": 8},
            "quantization": "4bit",
            "max_length": 24_000,
        },
        "flavor",
    ),
    # nothing to choose from
    (LLAMA_70B, {"hardware": {"max_usd_per_hour": 60.0}}, "lora=hft.LoRA()"),
    (LARGE, {"lora": {"r": 8}, "quantization": "4bit", "hardware": {}}, "quantization=None"),
    (QWEN_05B, {"hardware": {"max_usd_per_hour": 0.5, "max_hours": 9.0}}, "max_usd_per_hour=0.8, max_hours=9.0"),
    (QWEN_05B, {"hardware": {"num_gpus": 16, "prefer": "fastest"}}, 'prefer="fastest", num_gpus=8'),
    (QWEN_05B, {"hardware": {"num_gpus": 2}, "global_batch_size": 5}, "global_batch_size=4"),
    (HUGE, {"lora": {"r": 8}, "hardware": {}}, "nodes="),
    (LLAMA_8B, {"lora": {"r": 8}, "quantization": "4bit", "max_length": 400_000, "hardware": {}}, "max_length="),
    # host memory
    (LLAMA_8B, {"lora": {"r": 8}, "hardware": "a10g-small"}, "hardware="),
]


@pytest.mark.parametrize(("model", "fields", "part"), CASES, ids=lambda case: str(case)[:60])
def test_a_fix_is_pasted_and_the_run_fits(model: ModelFacts, fields: dict[str, Any], part: str) -> None:
    spec, known = sft(**{"hardware": "l4x1"} | fields), facts(model)
    (problem,) = unfit(spec, known)
    assert part in problem.fix
    changes = typed(problem.fix)
    changed = spec.replace(**changes)
    assert unfit(changed, known) == []
    assert errors(changed, known) <= errors(spec, known)
    made = hft.plan(changed, facts=known)
    assert made.estimate is not None
    assert made.estimate.verdict == "fits"
    assert made.estimate.fix == ""
    # nothing that the user set was lost but what the fix says
    before, after = spec.to_dict(), changed.to_dict()
    for name in before.keys() - changes.keys():
        assert after[name] == before[name]
    if isinstance(changes.get("hardware"), hft.Hardware):
        given = spec.hardware.model_dump(exclude_unset=True)
        assert given.keys() - {"flavor"} <= changes["hardware"].model_fields_set
    if "gradient_accumulation_steps" in changes:
        rows = spec.per_device_train_batch_size * spec.gradient_accumulation_steps
        assert changes["per_device_train_batch_size"] * changes["gradient_accumulation_steps"] == rows


def test_a_fix_is_that_of_the_estimate() -> None:
    spec, known = sft(hardware="l4x1"), facts(QWEN_7B)
    (problem,) = unfit(spec, known)
    estimate = hft.estimate(spec, facts=known)
    assert estimate.fix == problem.fix
    assert f"fits with {problem.fix}" in str(estimate).splitlines()


def test_what_nothing_makes_fit_says_so() -> None:
    small = HardwareFacts(tuple(each for each in snapshot().flavors if each.name == "t4-small"), "test")
    known = replace(facts(LLAMA_70B), hardware=small)
    (problem,) = unfit(sft(bf16=False), known)
    assert problem.fix == ""
    assert problem.why.endswith("; no change that was tried makes it fit")


def test_what_is_unknown_is_not_sought() -> None:
    for spec in (sft(), sft(hardware="l4x1"), sft(hardware="l4x1", use_cpu=True)):
        assert hft.estimate(spec, facts=facts(ModelFacts(exists=True))).fix == ""
    assert errors_here(sft(hardware="l4x1")) == set()


# -- a GPU of one's own, and comparisons


@pytest.mark.parametrize(
    ("gpu", "fields", "fix"),
    [
        ("3090", {}, "lora=hft.LoRA()"),
        ("T4", {}, 'lora=hft.LoRA(), quantization="4bit"'),
        ("3090", {"lora": {"r": 8}, "per_device_train_batch_size": 32}, "per_device_train_batch_size="),
        ("4x A100", {"hardware": {"strategy": "ddp"}}, 'hardware="auto"'),
    ],
)
def test_what_does_not_fit_on_a_card_says_what_would(gpu: str, fields: dict[str, Any], fix: str) -> None:
    spec, known = sft(**fields), facts(LLAMA_8B)
    estimate = hft.estimate(spec, gpu=gpu, facts=known)
    assert not estimate.fits
    assert fix in estimate.fix or "strategy" in fields.get("hardware", {})
    again = hft.estimate(spec.replace(**typed(estimate.fix)), gpu=gpu, facts=known)
    assert (again.fits, again.reason, again.fix) == (True, None, "")
    assert f"fits with {estimate.fix}" in str(estimate)


def test_a_card_on_which_nothing_makes_it_fit_says_so() -> None:
    estimate = hft.estimate(sft(bf16=False), gpu="RTX 3070", facts=facts(LLAMA_70B))
    assert (estimate.verdict, estimate.fix) == ("does not fit", "")
    assert str(estimate).splitlines().count("no change that was tried makes it fit") == 1
    assert str(estimate.reason).endswith("; no change that was tried makes it fit")


def test_where_no_change_helps_more_cards_may() -> None:
    # an adapter on quantized weights is all that there is, but for a second card
    spec = sft(hardware={"nodes": 1}, lora={"r": 8}, per_device_train_batch_size=1, max_length=256)
    estimate = hft.estimate(spec, gpu="H200", facts=facts(LARGE))
    assert not estimate.fits
    assert estimate.fix
    given = typed(estimate.fix)
    gpus = given.pop("num_gpus", 1)
    assert hft.estimate(spec.replace(**given), gpu="H200", num_gpus=gpus, facts=facts(LARGE)).reason is None


def test_the_rows_of_a_comparison_say_what_would_fit() -> None:
    spec, known = sft(), facts(LLAMA_8B)
    rows = {row.machine.name: row for row in hft.compare_flavors(spec, facts=known)}
    small = [row for row in rows.values() if row.reason is not None and row.reason.kind == "memory"]
    assert [row for row in small if row.fix]
    for row in rows.values():
        assert row.fix == "" or row in small
        if row.fix:
            again = hft.compare_flavors(spec.replace(**typed(row.fix)), facts=known)[row.machine.name]
            assert again.reason is None
    assert "; fits with lora=hft.LoRA()" in str(hft.compare_flavors(spec, facts=known))


def test_what_else_is_wrong_does_not_keep_a_change_from_being_found() -> None:
    spec, known = sft(fp16=True, bf16=True, hardware="l4x1"), facts(LLAMA_8B)
    assert "PREC001" in errors(spec, known)
    (problem,) = unfit(spec, known)
    for fix in (problem.fix, hft.estimate(spec, gpu="3090", facts=known).fix):
        assert fix == "lora=hft.LoRA()"
    assert [row for row in hft.compare_flavors(spec, facts=known) if row.fix]


# -- names of GPUs


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("H1000", 'gpu="H100"'),
        ("rtx4900", 'gpu="RTX 4090"'),
        ("RTX 4009", 'gpu="RTX 4090"'),
        ("8x H1000", 'gpu="8x H100"'),
        ("B300", 'gpu="B200"'),
        ("l4x4", 'gpu="4x L4"'),
        ("a10g-largex2", 'gpu="2x A10G"'),
        ("nonsense", ""),
        ("", ""),
        ("MI300X", ""),
    ],
)
def test_an_unknown_gpu_is_refused_with_those_that_are_meant(name: str, fix: str) -> None:
    with pytest.raises(ValueError, match="is known") as caught:
        hft.estimate(sft(), gpu=name, facts=facts())
    assert isinstance(caught.value, hft.SpecError)
    (problem,) = caught.value.problems
    assert (problem.path, problem.fix) == ("gpu", fix)
    if fix:
        assert hft.estimate(sft(), **typed(fix), facts=facts()).fits
    else:
        assert all(gpu.name.removeprefix("NVIDIA ") in problem.why for gpu in all_gpus())


def test_both_sizes_are_suggested_where_another_is_typed() -> None:
    with pytest.raises(hft.HFTError, match="did you mean A100 80GB or A100 40GB") as caught:
        hft.estimate(sft(), gpu="A100-60", facts=facts())
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.name)
def test_no_suggestion_is_refused(gpu: Any) -> None:
    name = gpu.name.removeprefix("NVIDIA ")
    for wrong in (f"{name}0", f"{name} Max-Q", name[:-2] + name[-2:][::-1], f"x{name}"):
        if find_gpu(wrong) is not None:
            continue
        with pytest.raises(hft.SpecError) as caught:
            hft.estimate(sft(), gpu=wrong, facts=facts())
        if fix := caught.value.problems[0].fix:
            assert hft.estimate(sft(), **typed(fix), facts=facts()).machine.flavor is not None


@pytest.mark.parametrize(("gpu", "count"), [("2x H100", 4), ("H100", 0), ("H100", -1)])
def test_a_count_that_cannot_be_is_refused(gpu: str, count: int) -> None:
    with pytest.raises(hft.SpecError) as caught:
        hft.estimate(sft(), gpu=gpu, num_gpus=count, facts=facts())
    (problem,) = caught.value.problems
    assert problem.path == "num_gpus"
    assert hft.estimate(sft(), gpu=gpu, **typed(problem.fix), facts=facts(QWEN_05B)).fits


# -- answers that take days

GRPO: dict[str, Any] = {
    "model": "me/model",
    "dataset": "me/data",
    "reward_funcs": "accuracy_reward",
    "lora": {"r": 16},
    "output": {"hub_model_id": "me/out"},
    "tracking": {"report_to": "none"},
}


def answers(model: str = "qwen2-7b") -> Facts:
    found = facts_of(model)
    return replace(found, account=ME, teacher=found.model, reward_model=QWEN_05B, value_model=QWEN_05B)


def slow(spec: Any, code: str) -> list[Problem]:
    return [each for each in hft.check(spec, facts=answers()).problems if each.code == code]


@pytest.mark.parametrize("method", [hft.GRPO, hft.RLOO])
@pytest.mark.parametrize("hardware", ["auto", "l4x1", "a10g-small", "a100-large"])
def test_days_of_answers_are_refused_with_what_vllm_takes(method: Any, hardware: str) -> None:
    spec = method(**GRPO, hardware=hardware)
    made = hft.plan(spec, facts=answers())
    (problem,) = [each for each in made.problems if each.code == "COST006"]
    assert (problem.severity, problem.scope, problem.path) == ("error", "remote", "use_vllm")
    assert problem.fix.startswith("use_vllm=True")
    assert made.estimate is not None
    assert made.estimate.duration is not None
    assert made.estimate.duration.parts["generation"].expected > ENDLESS_HOURS * 3600
    again = hft.plan(spec.replace(**typed(problem.fix)), facts=answers())
    assert not [each for each in again.problems if each.code in UNFIT_CODES | {"COST004", "COST006"}]
    assert again.estimate is not None
    for each in (made.estimate, again.estimate):
        assert each.usd is not None
        assert f"(${each.usd.expected:,.2f}) on {each.machine.name}" in problem.why
    with pytest.raises(hft.SpecError, match="COST006"):
        hft.submit(made)


@pytest.mark.parametrize("caps", [{"max_usd": 20.0}, {"max_hours": 5.0}, {"flavor": "l4x1", "max_usd": 20.0}], ids=str)
def test_no_cap_is_raised_for_days_of_answers(caps: dict[str, Any]) -> None:
    spec = hft.GRPO(**GRPO, hardware=caps)
    report = hft.check(spec, facts=answers())
    (problem,) = [each for each in report.problems if each.code.startswith("COST")]
    assert problem.code == "COST006"
    assert "; with vLLM the run takes " in problem.why
    again = hft.check(spec.replace(**typed(problem.fix)), facts=answers())
    assert {each.code for each in again.problems if each.severity == "error"} <= {"COST001", "COST002"}
    refused = hft.check(spec.replace(use_vllm=False), facts=answers())
    assert {each.code for each in refused.problems if each.severity == "error"} <= {"COST001", "COST002"}


def test_who_refuses_vllm_is_warned() -> None:
    spec = hft.GRPO(**GRPO, use_vllm=False)
    assert slow(spec, "COST006") == []
    (problem,) = slow(spec, "COST004")
    assert problem.severity == "warning"
    assert "; with vLLM the run takes " in problem.why
    assert slow(hft.GRPO(**GRPO, use_vllm=True), "COST004") == slow(hft.GRPO(**GRPO, use_vllm=True), "COST006") == []


@pytest.mark.parametrize("steps", [1_000_000, 100])
def test_methods_without_vllm_are_warned_of_days(steps: int) -> None:
    gkd = hft.GKD(model="me/model", dataset="me/data", teacher_model="me/teacher", lora={"r": 8}, max_steps=steps)
    ppo = hft.PPO(
        model="me/model", dataset="me/data", reward_model="me/reward", lora={"r": 8}, total_episodes=8 * steps
    )
    for spec in (gkd, ppo):
        assert slow(spec, "COST006") == []
        found = slow(spec, "COST004")
        assert [(each.severity, each.path, each.fix) for each in found] == [("warning", "", "")] * (steps > 1000)


def test_distillation_and_online_dpo_write_answers_too() -> None:
    common = {name: value for name, value in GRPO.items() if name != "reward_funcs"}
    distillation = hft.Distillation(**common, teacher_model="me/teacher", max_steps=50_000)
    online = hft.OnlineDPO(**GRPO, max_steps=200_000)
    for spec in (distillation, online):
        (problem,) = slow(spec, "COST006")
        assert problem.fix.startswith("use_vllm=True")


def test_days_of_answers_do_not_matter_on_this_machine() -> None:
    made = hft.plan(hft.GRPO(**GRPO), facts=answers(), backend="local")
    assert not [each for each in made.problems if each.code.startswith("COST")]


def test_a_run_of_which_the_time_is_unknown_is_not_passed() -> None:
    unchecked = hft.check(
        hft.GRPO(**GRPO, hardware="l4x1"), facts=facts(QWEN_7B, replace(facts().dataset, num_rows=None))
    )
    assert [each.needs for each in unchecked.unchecked if each.code == "COST006"] == [
        "the rows of the dataset (or max_steps)"
    ]
