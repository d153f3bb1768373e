"""Every way to lay a run out on GPUs forms the batch that was asked for, and leaves alone what was set."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

import hfjobs_trainer as hft
from hfjobs_trainer.planning.arguments.strategies import SHARDED
from hfjobs_trainer.planning.layout import (
    Layout,
    eval_batch_size,
    layouts,
    least_per_device,
    may_choose_batch,
    may_keep_activations,
    recomputes,
    syncs_each_batch,
    usual_layout,
)
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


def formed(layout: Layout, nodes: int) -> int:
    return layout.per_device_train_batch_size * layout.gradient_accumulation_steps * layout.num_gpus * nodes


@given(spec=specs(), gpus=GPUS, nodes=NODES, packed=some.integers(0, 4))
def test_every_layout_keeps_the_batch_and_what_was_set(spec: Any, gpus: int, nodes: int, packed: int) -> None:
    found = list(layouts(spec, gpus, nodes=nodes, most_packed=packed))
    assert len(found) == len(set(found))
    for layout in found:
        assert layout.num_gpus == gpus
        if spec.global_batch_size is not None:
            assert formed(layout, nodes) == spec.global_batch_size
        elif may_choose_batch(spec):
            assert formed(layout, nodes) == 8 * gpus * nodes
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
            if spec.is_set(name):
                assert getattr(layout, name) == getattr(spec, name)
        if not spec.is_set("per_device_train_batch_size"):
            assert layout.per_device_train_batch_size >= least_per_device(spec)
        if not may_keep_activations(spec):
            assert layout.gradient_checkpointing == recomputes(spec)
        assert not layout.packing or layout.per_device_train_batch_size <= packed
        if gpus * nodes == 1:
            assert layout.strategy not in SHARDED
        assert 1 <= eval_batch_size(spec, layout) <= spec.per_device_eval_batch_size


@given(spec=specs(), gpus=GPUS, nodes=NODES)
def test_a_batch_that_can_be_formed_is_formed(spec: Any, gpus: int, nodes: int) -> None:
    world, found = gpus * nodes, list(layouts(spec, gpus, nodes=nodes))
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
    elif least_per_device(spec) == 1:
        assert bool(found) == (wanted % unit == 0)
    if found and not both:
        assert {formed(layout, nodes) for layout in found} == {wanted}
        assert wanted % world == 0


@given(spec=specs(), gpus=GPUS, nodes=NODES)
def test_without_facts_no_batch_is_larger_than_the_default(spec: Any, gpus: int, nodes: int) -> None:
    layout = usual_layout(spec, gpus, nodes=nodes)
    if layout is None:
        assert spec.global_batch_size is not None
    elif not spec.is_set("per_device_train_batch_size"):
        assert layout.per_device_train_batch_size <= 8


def test_a_model_is_spread_only_where_there_are_several_gpus_and_it_is_left_open() -> None:
    def tried(gpus: int = 4, **fields: Any) -> list[str]:
        spec = METHODS["sft"].replace(**fields)
        return list(dict.fromkeys(layout.strategy for layout in layouts(spec, gpus)))

    assert tried() == ["ddp", "fsdp2"]
    assert tried(1) == ["ddp"]
    assert tried(image="me/cuda:devel") == ["ddp", "fsdp2", "zero2", "zero3"]
    assert tried(hardware={"strategy": "zero2"}) == ["zero2"]
    assert tried(quantization="4bit", lora={"r": 8}) == ["ddp"]


def test_gradients_are_spread_after_each_batch_where_fsdp_accumulates_and_nobody_said_otherwise() -> None:
    spec = METHODS["sft"]
    assert syncs_each_batch(spec, Layout(4, "fsdp2", 1, 2, True))
    assert not syncs_each_batch(spec, Layout(4, "fsdp2", 2, 1, True))
    assert not syncs_each_batch(spec, Layout(4, "ddp", 1, 2, True))
    theirs = hft.SFT(model="me/model", dataset="me/data", accelerator_config={"split_batches": False})
    assert not syncs_each_batch(theirs, Layout(4, "fsdp2", 1, 2, True))
