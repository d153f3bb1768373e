"""A strategy that the user wrote out counts as what it comes to."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.arguments.strategies import Spread, written_spread
from hfjobs_trainer.planning.memory.closed_form import Workload, estimate_memory
from tests.planning.known_models import LLAMA_8B

ZERO = "zero_optimization"
CPU = {"device": "cpu"}
BASE: dict[str, Any] = {"model": "me/model", "dataset": "me/data", "timeout": "1h"}


@pytest.mark.parametrize(
    ("given", "spread"),
    [
        ({"deepspeed": {ZERO: {"stage": 1}}}, Spread("zero1")),
        ({"deepspeed": {ZERO: {"stage": 2, "offload_optimizer": CPU}}}, Spread("zero2", offloads="optimizer")),
        (
            {"deepspeed": {ZERO: {"stage": 3, "offload_optimizer": CPU, "offload_param": CPU}}},
            Spread("zero3", offloads="all"),
        ),
        ({"deepspeed": {ZERO: {"stage": 3, "offload_param": {"device": "none"}}}}, Spread("zero3")),
        ({"deepspeed": {"train_batch_size": "auto"}}, Spread("ddp")),
        ({"deepspeed": {ZERO: {"stage": "auto"}}}, None),
        ({"deepspeed": {ZERO: {"stage": 3, "offload_param": CPU}}}, None),
        ({"deepspeed": {ZERO: {"stage": 3, "zero_hpz_partition_size": 8}}}, None),
        ({"deepspeed": {ZERO: {"stage": 3}}, "fsdp": True}, None),
        ({"fsdp": True}, Spread("fsdp2")),
        ({"fsdp": "full_shard auto_wrap", "fsdp_config": {"fsdp_version": 1}}, Spread("fsdp1")),
        ({"fsdp": "shard_grad_op offload"}, Spread("fsdp2", reshards=False, offloads="all")),
        ({"fsdp": True, "fsdp_config": {"reshard_after_forward": False}}, Spread("fsdp2", reshards=False)),
        ({"fsdp": True, "fsdp_config": {"version": 1, "reshard_after_forward": "hybrid_shard"}}, None),
        ({"fsdp": "hybrid_shard", "fsdp_config": {"version": 1}}, None),
        ({"fsdp": "no_shard", "fsdp_config": {"version": 1}}, Spread("ddp")),
        ({"fsdp_config": {"version": 2}}, Spread("ddp")),
    ],
)
def test_what_is_written_is_read_as_transformers_does(given: dict[str, Any], spread: Spread | None) -> None:
    assert written_spread(hft.Hardware(**given)) == spread


@pytest.mark.parametrize(
    ("strategy", "given"),
    [("zero3", {"deepspeed": {ZERO: {"stage": 3}}}), ("fsdp1", {"fsdp": True, "fsdp_config": {"version": 1}})],
)
def test_a_written_strategy_needs_what_a_named_one_does(strategy: str, given: dict[str, Any]) -> None:
    known = Facts(model=LLAMA_8B)
    fields: dict[str, Any] = {**BASE, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    plans = [
        hft.plan(hft.SFT(**fields, hardware={"flavor": "a100x8", **hardware}), facts=known)
        for hardware in ({"strategy": strategy}, given)
    ]
    named, written = (plan.estimate.memory if plan.estimate else None for plan in plans)
    assert named is not None
    assert written is not None
    assert written.strategy == strategy
    assert written.weights == named.weights
    assert not {problem.code for problem in plans[1].problems} & {"MEM001", "MEM002", "HW008"}


@pytest.mark.parametrize("flavor", ["auto", "a100x8"])
def test_what_cannot_be_read_leaves_memory_unchecked(flavor: str) -> None:
    hardware = {"flavor": flavor, "deepspeed": {ZERO: {"stage": 3, "zero_hpz_partition_size": 8}}}
    report = hft.check(hft.SFT(**BASE, hardware=hardware), facts=Facts(model=LLAMA_8B))
    missing = "how hardware.deepspeed shards the model"
    unchecked = {item.code: item.needs for item in report.unchecked}
    said = [problem.why for problem in report.problems if problem.code == "HW004"]
    if flavor == "auto":
        assert said == [f"no flavor can be chosen without {missing}"]
    else:
        assert (unchecked["MEM001"], unchecked["MEM002"]) == (missing, missing)
        assert not said


def test_weights_that_stay_gathered_and_states_on_the_host() -> None:
    def total(**fields: Any) -> Any:
        found = estimate_memory(Workload(LLAMA_8B, **fields), 4)
        assert found is not None
        return found

    kept, let_go = (total(strategy="fsdp2", reshards=each) for each in (False, True))
    body = 8_030_261_248 - 2 * 4096 * 128_256
    assert kept.buffers - let_go.buffers == pytest.approx(30 * 2 * body / 32)
    stepped, hosted = (total(strategy="zero2", offload_optimizer=each) for each in (False, True))
    assert stepped.optimizer_states > 0
    assert hosted.optimizer_states == 0
    assert hosted.total_bytes < stepped.total_bytes
