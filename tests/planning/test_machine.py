"""Which machine a run gets: what fits, what costs least, and why not the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, HardwareFacts, ModelFacts
from hfjobs_trainer.facts.dataset import LengthFacts
from hfjobs_trainer.planning.estimate import FlavorChoice
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot
from tests.planning.known_models import LLAMA_8B, LLAMA_70B, QWEN_05B, QWEN_7B

LENGTHS = LengthFacts("tokens", 100, 900.0, tuple(90.0 * step for step in range(1, 21)))
CHATS = DatasetFacts(exists=True, columns=("messages",), num_rows=15_806, lengths=LENGTHS)
ME = AccountFacts(has_token=True, name="me", token_role="write")


def facts(model: ModelFacts = QWEN_05B, dataset: DatasetFacts = CHATS, **known: Any) -> Facts:
    return Facts(model=model, dataset=dataset, account=ME, **known)


def sft(**fields: Any) -> hft.SFT:
    common: dict[str, Any] = {"model": "me/model", "dataset": "me/data", "output": {"hub_model_id": "me/out"}}
    return hft.SFT(**common | fields)


def chosen(model: ModelFacts = QWEN_05B, dataset: DatasetFacts = CHATS, **fields: Any) -> FlavorChoice:
    return hft.pick_flavor(sft(**fields), facts=facts(model, dataset))


def name_of(choice: FlavorChoice) -> str | None:
    return choice.flavor.name if choice.flavor else None


def decided(made: hft.Plan) -> dict[str, Any]:
    return {decision.path: decision.value for decision in made.decisions}


UNKNOWN_ROWS = DatasetFacts(exists=True, columns=("messages",))


@pytest.mark.parametrize("model", [QWEN_05B, QWEN_7B, LLAMA_8B, LLAMA_70B])
@pytest.mark.parametrize("dataset", [CHATS, UNKNOWN_ROWS], ids=["known", "unknown"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"lora": {"r": 16}},
        {"hardware": {"num_gpus": 2}},
        {"hardware": {"strategy": "single"}},
        {"hardware": {"max_usd_per_hour": 2.0}},
        {"hardware": {"max_hours": 1.0}},
        {"bf16": False},
        {"global_batch_size": 6},
    ],
    ids=str,
)
def test_every_other_flavor_is_rejected_with_a_reason(
    model: ModelFacts, dataset: DatasetFacts, fields: dict[str, Any]
) -> None:
    choice = chosen(model, dataset, **fields)
    left = {flavor.name for flavor in snapshot().flavors} - {name_of(choice)}
    assert sorted(name for name, _ in choice.rejected) == sorted(left)
    assert all(why for _, why in choice.rejected)
    reasons, wanted = dict(choice.rejected), fields.get("hardware", {})
    for flavor in snapshot().flavors:
        if flavor.gpu is None:
            assert reasons[flavor.name] == "no GPU: training needs one"
        elif not flavor.bf16 and "bf16" not in fields and not wanted.get("num_gpus"):
            assert reasons[flavor.name] == "NVIDIA T4 does not support bfloat16"
    if choice.flavor is not None:
        assert choice.estimate is not None
        assert choice.layout is not None
        assert choice.estimate.fits
        assert choice.usd_per_hour == choice.flavor.usd_per_hour <= wanted.get("max_usd_per_hour", 1e9)
        assert choice.flavor.num_gpus >= wanted.get("num_gpus", 1)
        if choice.duration is not None:
            assert choice.duration.seconds.expected <= 3600 * wanted.get("max_hours", 1e9)


def test_the_cheapest_is_where_the_run_costs_least() -> None:
    runs: list[tuple[ModelFacts, dict[str, Any]]]
    runs = [(QWEN_05B, {}), (LLAMA_8B, {"lora": {"r": 16}}), (QWEN_7B, {"lora": {"r": 8}})]
    for model, fields in runs:
        choice = chosen(model, hardware={"prefer": "cheapest"}, **fields)
        table = hft.compare_flavors(sft(**fields), facts=facts(model))
        costs = {row.machine.name: row.usd.expected for row in table if row.why_not is None and row.usd}
        assert choice.flavor is not None
        assert choice.duration is not None
        assert choice.duration.usd.expected == costs[choice.flavor.name] == min(cost for cost in costs.values() if cost)
        assert table.rows[0].flavor == choice.flavor


def test_without_rows_the_lowest_price_wins() -> None:
    choice = chosen(dataset=UNKNOWN_ROWS)
    assert name_of(choice) == "l4x1"
    assert choice.duration is None
    assert dict(choice.rejected)["l4x4"] == "fits, but costs $3.80/h; l4x1 costs $0.80/h"
    steps = chosen(dataset=UNKNOWN_ROWS, max_steps=100)
    assert steps.duration is not None
    assert steps.duration.steps == 100


def test_a_model_of_unknown_size_gets_no_flavor() -> None:
    choice = chosen(ModelFacts(exists=True))
    assert (choice.flavor, choice.headroom, choice.estimate) == (None, None, None)
    assert "cannot tell whether it fits without knowing the size of me/model" in dict(choice.rejected)["a100-large"]
    assert len(choice.rejected) == len(snapshot().flavors)


def test_what_is_named_is_taken_and_its_batch_is_chosen() -> None:
    choice = chosen(QWEN_7B, hardware="t4-small", bf16=False)
    assert name_of(choice) == "t4-small"
    assert choice.headroom is not None
    assert choice.headroom < 0
    small, large = chosen(LLAMA_8B, lora={"r": 16}, hardware="l4x1"), chosen(LLAMA_8B, lora={"r": 16}, hardware="h200")
    assert small.layout is not None
    assert large.layout is not None
    assert small.layout.gradient_checkpointing
    assert not large.layout.gradient_checkpointing
    for choice in (small, large):
        assert choice.layout is not None
        assert choice.layout.per_device_train_batch_size * choice.layout.gradient_accumulation_steps == 8


@pytest.mark.parametrize("flavor", ["a10g-large", "a100x4", "h200x8"])
@pytest.mark.parametrize("size", [8, 24, 64, 256])
def test_the_global_batch_is_kept_on_every_machine(flavor: str, size: int) -> None:
    made = hft.plan(sft(global_batch_size=size, hardware=flavor, lora={"r": 8}), facts=facts(QWEN_7B))
    assert made.estimate is not None
    layout = made.estimate.layout
    assert layout is not None
    assert made.flavor is not None
    formed = layout.per_device_train_batch_size * layout.gradient_accumulation_steps * made.flavor.num_gpus
    assert formed == size
    assert not [problem for problem in made.problems if problem.code == "BATCH001"]


def test_a_global_batch_that_no_number_of_gpus_divides_rejects_them() -> None:
    choice = chosen(global_batch_size=6)
    assert dict(choice.rejected)["a100x4"] == "global_batch_size=6 cannot be divided among 4 GPUs"


def test_what_the_user_set_is_kept_in_every_layout() -> None:
    fields: dict[str, Any] = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 5,
        "gradient_checkpointing": True,
    }
    for row in hft.compare_flavors(sft(**fields), facts=facts()):
        if row.layout is not None:
            assert row.layout.per_device_train_batch_size == 3
            assert row.layout.gradient_accumulation_steps == 5
            assert row.layout.gradient_checkpointing


def test_neighbours_stay_together_in_kto() -> None:
    spec = hft.KTO(model="me/model", dataset="me/data", global_batch_size=8, hardware="a10g-largex4")
    data = replace(CHATS, columns=("prompt", "completion", "label"))
    made = hft.plan(spec, facts=facts(QWEN_05B, data))
    assert decided(made)["per_device_train_batch_size"] == 2


def test_a_smaller_batch_in_training_is_a_smaller_one_in_evaluation() -> None:
    fields: dict[str, Any] = {"lora": {"r": 16}, "hardware": "l4x1", "eval_fraction": 0.1, "eval_strategy": "epoch"}
    made = hft.plan(sft(**fields, max_length=2048), facts=facts(LLAMA_8B))
    chosen = decided(made)
    assert chosen["per_device_train_batch_size"] < 8
    assert chosen["per_device_eval_batch_size"] == chosen["per_device_train_batch_size"]
    explicit = hft.plan(sft(**fields, max_length=2048, per_device_eval_batch_size=8), facts=facts(LLAMA_8B))
    assert "per_device_eval_batch_size" not in decided(explicit)


def test_host_memory_and_disk_must_hold_the_weights() -> None:
    fields: dict[str, Any] = {"lora": {"r": 16}, "dtype": "float32", "per_device_train_batch_size": 1}
    reasons = dict(chosen(LLAMA_8B, **fields).rejected)
    assert reasons["l40sx4"].startswith("needs 140 GB of host memory") or "more than" in reasons["l40sx4"]
    tiny = tuple(replace(flavor, ram_gb=20) for flavor in snapshot().flavors)
    known = replace(facts(LLAMA_8B), hardware=HardwareFacts(tiny, "test"))
    choice = hft.pick_flavor(sft(**fields), facts=known)
    assert choice.flavor is None
    assert dict(choice.rejected)["h200"] == "needs 35 GB of host memory to load the weights, has 20 GB"


def disks(gigabytes: float) -> Facts:
    small = tuple(replace(flavor, disk_gb=gigabytes) for flavor in snapshot().flavors)
    return replace(facts(QWEN_05B), hardware=HardwareFacts(small, "test"))


EVERY_100: dict[str, Any] = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "save_steps": 100}


def test_checkpoints_must_fit_on_the_disk() -> None:
    many = hft.check(sft(**EVERY_100, save_total_limit=60), facts=disks(60))
    (problem,) = [item for item in many.problems if item.severity == "error"]
    assert problem.code == "HW003"
    assert "GB of disk for the weights and 8 checkpoints, has 60 GB" in problem.why
    assert problem.fix == "save_total_limit=2"
    report = hft.check(sft(**EVERY_100, save_total_limit=60, hardware="l4x1"), facts=disks(60))
    (named,) = [item for item in report.problems if item.code == "HW008"]
    assert "GB of disk for the weights and 60 checkpoints, has 60 GB" in named.why
    assert hft.pick_flavor(sft(**EVERY_100, save_total_limit=2), facts=disks(60)).flavor is not None


@pytest.mark.parametrize("fields", [{}, {"hardware": "l4x1"}], ids=str)
def test_checkpoints_that_do_not_fit_are_not_all_kept(fields: dict[str, Any]) -> None:
    made = hft.plan(sft(**EVERY_100, **fields), facts=disks(60))
    assert made.flavor is not None
    assert made.flavor == hft.pick_flavor(sft(**EVERY_100, save_total_limit=2, **fields), facts=disks(60)).flavor
    assert not [problem for problem in made.problems if problem.code.startswith("HW")]
    (decision,) = [item for item in made.decisions if item.path == "save_total_limit"]
    assert (decision.value, decision.why) == (2, "the disk cannot hold all checkpoints of the run")
    assert "save_total_limit=2" in made.script
    roomy = hft.plan(sft(**EVERY_100, **fields), facts=disks(600))
    assert "        save_total_limit=" not in roomy.script
    own = hft.plan(sft(**EVERY_100, save_total_limit=3, **fields), facts=disks(60))
    assert "save_total_limit" not in decided(own)


def test_what_does_not_fit_on_the_disk_either_way_says_what_needs_less() -> None:
    # one checkpoint beside the one that is written is too much already
    for fields, fix in (
        ({}, "save_only_model=True"),
        ({"save_total_limit": None}, "save_total_limit=2, save_only_model=True"),
        ({"save_total_limit": 1, "save_only_model": False}, "save_only_model=True"),
    ):
        report = hft.check(sft(**EVERY_100, **fields), facts=disks(28))
        (problem,) = [item for item in report.problems if item.code == "HW003"]
        assert problem.fix == fix
        named = hft.check(sft(**EVERY_100, **fields, hardware="l4x1"), facts=disks(28))
        (problem,) = [item for item in named.problems if item.code == "HW008"]
        assert problem.fix == fix
    assert hft.pick_flavor(sft(**EVERY_100, save_only_model=True), facts=disks(28)).flavor is not None


def test_checkpoints_nobody_asked_to_keep_cost_no_larger_machine() -> None:
    spec = hft.GRPO(
        model="me/model",
        dataset="me/data",
        reward_funcs="think_format_reward",
        use_vllm=True,
        hardware={"prefer": "cheapest"},
        output={"hub_model_id": "me/out"},
    )
    prompts = DatasetFacts(exists=True, columns=("prompt",), num_rows=60_000, lengths=LENGTHS)
    free = hft.pick_flavor(spec, facts=facts(dataset=prompts))
    assert free.flavor == hft.pick_flavor(spec.replace(save_total_limit=2), facts=facts(dataset=prompts)).flavor
    assert free.layout is not None
    assert free.layout.save_total_limit == 2


def test_a_deadline_takes_more_or_faster_gpus() -> None:
    fields: dict[str, Any] = {"lora": {"r": 16}, "max_length": 4096}
    free, hurried = chosen(LLAMA_8B, **fields), chosen(LLAMA_8B, **fields, hardware={"max_hours": 0.3})
    assert free.duration is not None
    assert hurried.duration is not None
    assert hurried.flavor is not None
    assert free.duration.seconds.expected > 0.3 * 3600 >= hurried.duration.seconds.expected
    assert free.duration.usd.expected <= hurried.duration.usd.expected
    assert "above max_hours=0.3" in dict(hurried.rejected)[name_of(free) or ""]


def test_a_card_of_ones_own() -> None:
    spec = sft(lora={"r": 16})
    card = hft.estimate(spec, gpu="RTX 4090", facts=facts(LLAMA_8B))
    assert (card.verdict, card.usd, card.num_gpus) == ("fits", None, 1)
    assert card.seconds is not None
    assert card.seconds.low < card.seconds.expected < card.seconds.high
    assert "fits on NVIDIA RTX 4090" in str(card)
    assert hft.estimate(sft(), gpu="3090", facts=facts(LLAMA_8B)).verdict == "does not fit"
    two = hft.estimate(spec, gpu="A100-40", num_gpus=2, facts=facts(LLAMA_8B))
    assert two.seconds is not None
    assert two.memory is not None
    assert two.memory.num_gpus == 2
    with pytest.raises(ValueError, match="did you mean"):
        hft.estimate(spec, gpu="RTX 4009", facts=facts())
    with pytest.raises(ValueError, match="num_gpus: 0, must be 1 or more"):
        hft.estimate(spec, gpu="RTX 4090", num_gpus=0, facts=facts())


def test_a_count_in_the_name_of_a_card_counts() -> None:
    spec, known = sft(lora={"r": 16}), facts(LLAMA_8B)
    two = hft.estimate(spec, gpu="H100", num_gpus=2, facts=known)
    assert hft.estimate(spec, gpu="2x H100", facts=known) == two
    assert hft.estimate(spec, gpu="2 x H100", num_gpus=2, facts=known) == two
    with pytest.raises(ValueError, match="num_gpus: 4, but gpu='2x H100' says 2"):
        hft.estimate(spec, gpu="2x H100", num_gpus=4, facts=known)


def test_an_estimate_counts_the_gpus_that_train() -> None:
    nodes = hft.estimate(sft(hardware={"nodes": 2}), gpu="H100", num_gpus=4, facts=facts(LLAMA_8B))
    assert nodes.memory is not None
    assert (nodes.num_gpus, nodes.memory.num_gpus) == (8, 8)
    one = hft.estimate(sft(hardware={"strategy": "single"}), gpu="H100", num_gpus=4, facts=facts())
    assert one.memory is not None
    assert (one.num_gpus, one.memory.num_gpus) == (1, 1)


def test_an_estimate_says_why_there_is_none() -> None:
    fields: dict[str, Any] = {"lora": {"r": 16}, "global_batch_size": 3}
    two = hft.estimate(sft(**fields), gpu="2x H100", facts=facts(LLAMA_8B))
    assert two.memory is None
    assert two.why_not == "global_batch_size=3 cannot be divided among 2 GPUs"
    assert str(two).startswith("memory: global_batch_size=3 cannot be divided among 2 GPUs\n")
    unknown = hft.estimate(sft(), gpu="H100", facts=Facts())
    assert "cannot tell whether it fits without knowing the size of me/model" in str(unknown)
    large = hft.estimate(sft(), gpu="3090", facts=facts(LLAMA_8B))
    assert large.why_not is not None
    assert large.why_not.startswith("needs ")
    assert large.why_not not in str(large)
    fits = hft.estimate(sft(), gpu="H100", facts=facts())
    assert fits.why_not is None


def test_an_estimate_on_a_flavor_says_what_the_machine_lacks() -> None:
    small = hft.estimate(sft(lora={"r": 16}, hardware="a10g-small"), facts=facts(LLAMA_8B))
    assert small.verdict == "fits"
    assert "but needs 19 GB of host memory to load the weights, has 15 GB" in str(small).splitlines()


def test_an_estimate_without_a_card_is_that_of_the_plan() -> None:
    assert hft.estimate(sft(), facts=facts()) == hft.plan(sft(), facts=facts()).estimate
    unknown = hft.estimate(sft(), facts=Facts())
    assert not unknown.is_known
    assert "time: unknown" in str(unknown)


def test_a_script_cannot_be_estimated() -> None:
    script = {"method": "script", "script": "train.py"}
    with pytest.raises(hft.SpecError, match="SCRIPT004"):
        hft.compare_flavors(script, facts=Facts())
    with pytest.raises(hft.SpecError, match="SCRIPT004"):
        hft.estimate(script, facts=Facts())


def test_the_comparison_shows_every_flavor() -> None:
    table = hft.compare_flavors(sft(lora={"r": 16}, hardware="h200"), facts=facts(LLAMA_8B))
    assert len(table) == len(snapshot().flavors)
    assert table["h200"].usd is not None
    assert table["h200"].hours is not None
    assert table["cpu-basic"].why_not == "no GPU: training needs one"
    lines = str(table).splitlines()
    assert lines[0].split() == ["flavor", "fits", "GiB", "of", "layout", "hours", "$", "note"]
    assert len(lines) == len(table) + 2
    assert lines[-1].startswith("prices: snapshot 2026-08-22")
    with pytest.raises(KeyError, match="choose one of"):
        table["h100"]
    page = table._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert page.count("<tr>") == len(table) + 1


def test_a_choice_as_text() -> None:
    lines = str(chosen()).splitlines()
    assert lines[0].startswith(f"{name_of(chosen())}: ")
    assert lines[1].startswith("  about ")
    assert any(line.strip().startswith("not cpu-basic") for line in lines)
    assert str(chosen(LLAMA_70B)).startswith("no flavor\n  not cpu-basic ")


def test_a_named_flavor_of_which_nothing_is_known() -> None:
    flavor = find_flavor("t4-small", snapshot())
    assert FlavorChoice(flavor).headroom is None
    assert FlavorChoice(None) == FlavorChoice(None)


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"global_batch_size": 7, "per_device_train_batch_size": 2}, "BATCH001", "7 is not a multiple of 2 per device"),
        (
            {"global_batch_size": 3, "hardware": {"nodes": 2}},
            "BATCH001",
            "3 is not a multiple of 1 per device on 2 GPUs",
        ),
        ({"global_batch_size": 8, "gradient_accumulation_steps": 3}, "BATCH001", "make 24, not 8"),
        ({"global_batch_size": 5, "hardware": {"num_gpus": 2}}, "HW003", "cannot be divided among 2 GPUs"),
        ({"hardware": {"num_gpus": 16}}, "HW003", "has 8 GPUs, the run needs 16"),
        ({"hardware": {"strategy": "ddp", "max_usd_per_hour": 0.5}}, "HW003", "above max_usd_per_hour=0.5"),
    ],
    ids=str,
)
def test_where_no_machine_will_do_one_problem_says_why(fields: dict[str, Any], code: str, said: str) -> None:
    report = hft.check(sft(**fields), facts=facts())
    (problem,) = [item for item in report.problems if item.severity == "error"]
    assert problem.code == code
    assert said in problem.why
    assert problem.fix


def test_a_batch_that_cannot_be_spread_is_no_model_of_unknown_size() -> None:
    rows = DatasetFacts(exists=True, columns=("prompt", "completion", "label"), num_rows=15_806, lengths=LENGTHS)
    pairs = hft.KTO(model="me/model", dataset="me/data", global_batch_size=8)
    kto = hft.pick_flavor(pairs, facts=facts(dataset=rows))
    # a row of KTO needs another one beside it
    assert dict(kto.rejected)["h200x8"] == "global_batch_size=8 cannot be divided among 8 GPUs"
    eight = chosen(global_batch_size=8, per_device_train_batch_size=2)
    assert dict(eight.rejected)["h200x8"] == (
        "global_batch_size=8 cannot be divided among 8 GPUs with per_device_train_batch_size=2"
    )


@pytest.mark.parametrize("fields", [{}, {"lora": {}}, {"hardware": {"nodes": 2}}])
def test_a_named_flavor_is_what_its_row_says(fields: dict[str, Any]) -> None:
    """TRL's default batch is of a device: it grows with the GPUs, whether they were named or compared."""
    spec = hft.SFT(model="me/model", dataset="me/data", timeout="1h", **fields)
    rows = hft.compare_flavors(spec, facts=facts())
    for name in ("l4x1", "a10g-largex4", "h200x8"):
        named = spec.replace(hardware={**fields.get("hardware", {}), "flavor": name})
        estimate = hft.plan(named, facts=facts(), offline=True).estimate
        assert estimate is not None
        assert (estimate.layout, estimate.duration) == (rows[name].layout, rows[name].duration)


def test_the_batch_is_told_where_it_grew() -> None:
    def decided(**fields: Any) -> dict[str, Any]:
        spec = hft.SFT(model="me/model", dataset="me/data", timeout="1h", **fields)
        return {item.path: item.value for item in hft.plan(spec, facts=facts(), offline=True).decisions}

    four = {"flavor": "a100x4", "nodes": 2}
    found = decided(hardware=four)
    per_device, steps = found.get("per_device_train_batch_size", 8), found.get("gradient_accumulation_steps", 1)
    assert per_device * steps == 8
    assert ("global_batch_size" in found) == (per_device == 8)
    assert decided(hardware=four, per_device_train_batch_size=2)["global_batch_size"] == 16
    told = decided(hardware=four, per_device_train_batch_size=2, gradient_accumulation_steps=1)
    assert not told.keys() & {"global_batch_size", "gradient_accumulation_steps"}
    assert "global_batch_size" not in decided(hardware="a100-large")
