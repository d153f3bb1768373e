"""Changes of a spec that make its run fit, the nearest first: each is tried by planning the run with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.planning.arguments.strategies import sharding_strategies
from hfjobs_trainer.planning.memory.storage import CHECKPOINTS_KEPT
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Hardware, LoRA, Prefer, Quantization

Fields = Mapping[str, Any]
"""Keyword arguments of ``spec.replace``."""

MOST_TRIED = 32
"""Most changes that are tried: planning stays a matter of milliseconds."""

LEAST_TOKENS = 256
"""Shortest rows and answers that are proposed, tokens."""

ASSUMED_TOKENS = 4096
"""Length from which shorter ones are tried, where nothing limits it: what a row is then assumed to have."""

MOST_NODES = 8
"""Most machines that are proposed."""

# An optimizer that works on the parts of a sharded model: TRL's default.
_ANY_STRATEGY = "adamw_torch_fused"


def first_change(spec: TrainSpec, changes: Iterator[Fields], holds: Callable[[TrainSpec], bool]) -> Fields | None:
    """The first of the changes with which the spec is valid and ``holds``; ``None`` if there is none."""
    for fields in islice(changes, MOST_TRIED):
        try:
            changed = spec.replace(**fields)
        except SpecError:
            continue
        if holds(changed):
            return fields
    return None


def changes_here(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    """Changes with which a run needs less memory on the same machine.

    First those with which the same is trained: recomputed activations, fewer rows at once, a model that is sharded;
    then an adapter, quantized weights, and at last shorter rows.
    """
    yield from _ahead_of_length(spec, run)
    yield from _shorter(spec, run)


def changes_anywhere(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    """Changes with which a run fits on some machine: those of ``changes_here``, then others or more machines.

    A flavor of ``"auto"`` in them stands for the one that is then chosen.
    """
    yield from _ahead_of_length(spec, run)
    yield from changes_elsewhere(spec, run)
    yield from _shorter(spec, run)


def changes_elsewhere(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    """Other machines, or more of them, and changes with which the run may fit there."""
    tunings: list[Fields] = [{}, *_tunings(spec)]
    anywhere = _anywhere(spec, prefer="cheapest")
    if anywhere:
        yield from ({**fields, **anywhere} for fields in tunings)
        yield {**_strongest(spec), **_lightest(spec, run), **anywhere}
    if spec.quantization is not None:
        # weights of 16 bits are sharded, quantized ones are not
        yield {"quantization": None, **anywhere}
    nodes, freed = spec.hardware.nodes, {"flavor": "auto"} if anywhere else {}
    while (nodes := 2 * nodes) <= MOST_NODES and spec.quantization is None:
        # quantized weights are not sharded: more machines do not help them
        for fields in (each for each in tunings if "quantization" not in each):
            yield {**fields, "hardware": with_hardware(spec, **freed, nodes=nodes)}


def changes_of_disk(spec: TrainSpec) -> Iterator[Fields]:
    """Changes with which checkpoints take less of the disk."""
    # unset, the planner has gone down to its own limit already
    limit = spec.save_total_limit if spec.is_set("save_total_limit") else CHECKPOINTS_KEPT
    fewer = [{"save_total_limit": kept} for kept in (CHECKPOINTS_KEPT, 1) if limit is None or limit > kept]
    yield from fewer
    if not spec.save_only_model:
        yield from ({**fields, "save_only_model": True} for fields in ({}, *fewer))


def changes_of_batch(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    """Global batches that GPUs divide, the nearest first."""
    wanted = spec.global_batch_size
    if wanted is None:
        return
    unit = (run.batch.per_device if run.batch.per_device_is_set else run.batch.least) * run.nodes
    unit *= run.batch.accumulation if run.batch.accumulation_is_set else 1
    sizes = {unit * gpus * (wanted // (unit * gpus) + more) for gpus in (1, 2, 4, 8) for more in (0, 1)} - {0, wanted}
    yield from ({"global_batch_size": size} for size in sorted(sizes, key=lambda size: (abs(size - wanted), size)))


def changes_of_hardware(spec: TrainSpec, usd_per_hour: float | None, most_gpus: int) -> Iterator[Fields]:
    """What the spec asks of machines, asked of fewer GPUs or at a higher price.

    Args:
        spec: The spec.
        usd_per_hour: Lowest price at which the run fits, US dollars per hour; ``None`` if at none.
        most_gpus: Most GPUs of a flavor.
    """
    hardware = spec.hardware
    if hardware.num_gpus is not None and hardware.num_gpus > most_gpus:
        yield {"hardware": with_hardware(spec, num_gpus=most_gpus)}
    if usd_per_hour is not None and hardware.max_usd_per_hour is not None:
        yield {"hardware": with_hardware(spec, max_usd_per_hour=max(usd_per_hour, hardware.max_usd_per_hour))}


def changes_to_vllm(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    """The spec with vLLM, with what else may be needed for it."""
    tunings: list[Fields] = [{}, *_tunings(spec)]
    anywhere = _anywhere(spec)
    yield {"use_vllm": True}
    if anywhere:
        yield {"use_vllm": True, **anywhere}
    yield from ({"use_vllm": True, **fields, **anywhere} for fields in tunings[1:])
    yield {"use_vllm": True, **_strongest(spec), **_lightest(spec, run), **anywhere}


def with_hardware(spec: TrainSpec, **changes: Any) -> Hardware:
    """The hardware of a spec, as the user set it but for these fields."""
    given: dict[str, Any] = {**spec.hardware.model_dump(exclude_unset=True), **changes}
    return Hardware(**given)


def settled(spec: TrainSpec, fields: Fields, flavor: str) -> Fields:
    """The change with the name of the flavor where the planner was to choose another than the spec's."""
    hardware = fields.get("hardware")
    if not isinstance(hardware, Hardware) or spec.hardware.flavor == hardware.flavor:
        return fields
    nodes = {"nodes": hardware.nodes} if hardware.nodes != spec.hardware.nodes else {}
    return {**fields, "hardware": with_hardware(spec, flavor=flavor, **nodes)}


# -- parts of a change


def _anywhere(spec: TrainSpec, **prefer: Prefer) -> Fields:
    """Another flavor than the one that the user named."""
    return {"hardware": with_hardware(spec, flavor="auto", **prefer)} if spec.hardware.flavor != "auto" else {}


def _ahead_of_length(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    singles, lightest = list(_same_training(spec, run)), _lightest(spec, run)
    yield from singles
    if lightest and lightest not in singles:
        yield lightest
    tunings = list(_tunings(spec))
    yield from tunings
    if lightest and tunings:
        yield from ({**fields, **lightest} for fields in tunings)


def _same_training(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    """Changes with which the same is trained, but for rounding."""
    if not run.recomputes and run.training.recomputes:
        selective = spec.activation_checkpointing is False
        yield {"activation_checkpointing" if selective else "gradient_checkpointing": True}
    if spec.hardware.strategy in ("single", "ddp"):
        yield {"hardware": with_hardware(spec, strategy="auto")}
    if not sharding_strategies(run) and sharding_strategies(run, optim=_ANY_STRATEGY):
        yield {"optim": _ANY_STRATEGY}
    if run.evaluation.in_memory and not run.batch.eval_follows and run.batch.eval_per_device > 1:
        yield {"per_device_eval_batch_size": 1}
    yield from _smaller_batches(run)


def _smaller_batches(run: Run) -> Iterator[Fields]:
    """Fewer rows at once, with as many rows per optimizer step."""
    batch = run.batch
    if not (batch.per_device_is_set or (batch.global_size is None and not batch.is_open)):
        return
    size = batch.per_device
    while size % 2 == 0 and size // 2 >= batch.least:
        size //= 2
        fields = {"per_device_train_batch_size": size}
        if batch.global_size is None or batch.accumulation_is_set:
            fields["gradient_accumulation_steps"] = batch.accumulation * batch.per_device // size
        yield fields


def _lightest(spec: TrainSpec, run: Run) -> Fields:
    """All changes with which the same is trained, at once."""
    found: dict[str, Any] = {}
    for fields in _same_training(spec, run):
        found |= fields
    return found


def _tunings(spec: TrainSpec) -> Iterator[Fields]:
    """Less that is trained, or held in fewer bits; what the user set of a group stays."""
    if spec.lora is None:
        yield {"lora": LoRA()}
    if spec.quantization is None:
        yield {**({"lora": LoRA()} if spec.lora is None else {}), "quantization": "4bit"}
    elif spec.quantization.bits == "8bit":
        given: dict[str, Any] = {**spec.quantization.model_dump(exclude_unset=True), "bits": "4bit"}
        yield {"quantization": Quantization(**given)}


def _strongest(spec: TrainSpec) -> Fields:
    return {name: value for fields in _tunings(spec) for name, value in fields.items()}


def _shorter(spec: TrainSpec, run: Run) -> Iterator[Fields]:
    """Shorter rows, and shorter answers: alone, then with all else that needs less memory."""
    rest = {**_strongest(spec), **_lightest(spec, run)}
    for more in [{}, rest] if rest else [{}]:
        for field, most in _limits(spec, run):
            length = 1 << (max(most - 1, 1).bit_length() - 1)
            while length >= LEAST_TOKENS:
                yield {**more, field: length}
                length //= 2


def _limits(spec: TrainSpec, run: Run) -> Iterator[tuple[str, int]]:
    if "max_length" in type(spec).model_fields:
        yield "max_length", run.rows.max_length or ASSUMED_TOKENS
    if run.answers is not None and not run.answers.within_max_length:
        yield run.answers.bound, run.answers.most or ASSUMED_TOKENS
