"""Every way to lay a run out on GPUs forms the batch that was asked for, and leaves alone what was set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.arguments.strategies import SHARDED
from hfjobs_trainer.planning.layout import (
    Layout,
    eval_batch_size,
    layouts,
    syncs_each_batch,
    usual_layout,
)
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.planning.understand import understand
from tests.planning.test_duration import METHODS

GPUS = some.sampled_from([1, 2, 3, 4, 8])
NODES = some.integers(1, 3)
SIZES = some.integers(1, 24)
CHOSEN = {
    "global_batch_size": some.integers(1, 96),
    "per_device_train_batch_size": SIZES,
    "gradient_accumulation_steps": SIZES,
    "gradient_checkpointing": some.booleans(),
    "auto_find_batch_size": some.booleans(),
}


@some.composite
def specs(draw: some.DrawFn) -> Any:
    spec = draw(some.sampled_from(list(METHODS.values())))
    fields = {name: draw(values) for name, values in CHOSEN.items() if draw(some.booleans())}
    lora = draw(some.sampled_from([None, {"r": 8}]))
    return spec.replace(**fields, lora=lora) if lora else spec.replace(**fields)


def run_of(spec: Any, nodes: int = 1, packed: int = 0) -> Run:
    run = understand(spec, Facts())
    return replace(run, nodes=nodes, rows=replace(run.rows, most_packed=packed))


def formed(layout: Layout, nodes: int) -> int:
    return layout.per_device_train_batch_size * layout.gradient_accumulation_steps * layout.num_gpus * nodes


@given(spec=specs(), gpus=GPUS, nodes=NODES, packed=some.integers(0, 4))
def test_every_layout_keeps_the_batch_and_what_was_set(spec: Any, gpus: int, nodes: int, packed: int) -> None:
    run = run_of(spec, nodes, packed)
    found = list(layouts(run, gpus))
    assert len(found) == len(set(found))
    for layout in found:
        assert layout.num_gpus == gpus
        if spec.global_batch_size is not None:
            assert formed(layout, nodes) == spec.global_batch_size
        elif run.batch.is_open:
            assert formed(layout, nodes) == 8 * gpus * nodes
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
            if spec.is_set(name):
                assert getattr(layout, name) == getattr(spec, name)
        if not spec.is_set("per_device_train_batch_size"):
            assert layout.per_device_train_batch_size >= run.batch.least
        if not run.may_keep_activations:
            assert layout.gradient_checkpointing == run.recomputes
        assert not layout.packing or layout.per_device_train_batch_size <= packed
        if gpus * nodes == 1:
            assert layout.strategy not in SHARDED
        assert 1 <= eval_batch_size(run, layout) <= spec.per_device_eval_batch_size


@given(spec=specs(), gpus=GPUS, nodes=NODES)
def test_a_batch_that_can_be_formed_is_formed(spec: Any, gpus: int, nodes: int) -> None:
    run = run_of(spec, nodes)
    world, found = gpus * nodes, list(layouts(run, gpus))
    wanted, unit = spec.global_batch_size, gpus * nodes
    if wanted is None:
        assert found
        return
    both = 0
    for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        if spec.is_set(name):
            unit, both = unit * getattr(spec, name), both + 1
    if both == 2:
        assert bool(found) == (wanted == unit)
    elif run.batch.least == 1:
        assert bool(found) == (wanted % unit == 0)
    if found and not both:
        assert {formed(layout, nodes) for layout in found} == {wanted}
        assert wanted % world == 0


@given(spec=specs(), gpus=GPUS, nodes=NODES)
def test_without_facts_no_batch_is_larger_than_the_default(spec: Any, gpus: int, nodes: int) -> None:
    layout = usual_layout(run_of(spec, nodes), gpus)
    if layout is None:
        assert spec.global_batch_size is not None
    elif not spec.is_set("per_device_train_batch_size"):
        assert layout.per_device_train_batch_size <= 8


def test_a_model_is_spread_only_where_there_are_several_gpus_and_it_is_left_open() -> None:
    def tried(gpus: int = 4, **fields: Any) -> list[str]:
        spec = METHODS["sft"].replace(**fields)
        return list(dict.fromkeys(layout.strategy for layout in layouts(run_of(spec), gpus)))

    assert tried() == ["ddp", "fsdp2"]
    assert tried(1) == ["ddp"]
    assert tried(image="me/cuda:devel") == ["ddp", "fsdp2", "zero2", "zero3"]
    assert tried(hardware={"strategy": "zero2"}) == ["zero2"]
    assert tried(quantization="4bit", lora={"r": 8}) == ["ddp"]


def test_gradients_are_spread_after_each_batch_where_fsdp_accumulates_and_nobody_said_otherwise() -> None:
    spec = run_of(METHODS["sft"])
    assert syncs_each_batch(spec, Layout(4, "fsdp2", 1, 2, True))
    assert not syncs_each_batch(spec, Layout(4, "fsdp2", 2, 1, True))
    assert not syncs_each_batch(spec, Layout(4, "ddp", 1, 2, True))
    theirs = run_of(hft.SFT(model="me/model", dataset="me/data", accelerator_config={"split_batches": False}))
    assert not syncs_each_batch(theirs, Layout(4, "fsdp2", 1, 2, True))
