"""Which machine a run gets, and how the model is spread over its GPUs."""

from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.architecture import count_parameters
from hfjobs_trainer.planning.flavors import FlavorChoice, Requirements, choose_flavor, find_flavor, snapshot
from hfjobs_trainer.planning.memory import MemoryEstimate, estimate_memory
from hfjobs_trainer.planning.resolve import Resolved, planned_gpus, precision_of, resolve
from hfjobs_trainer.planning.strategies import SHARDED, first_strategy, may_shard
from hfjobs_trainer.planning.vllm import server_gpus
from hfjobs_trainer.planning.workload import BYTES, workload
from hfjobs_trainer.specs.base import TrainSpec


def memory_of(spec: TrainSpec, facts: Facts, resolved: Resolved) -> MemoryEstimate | None:
    """Memory of one GPU; ``None`` if the model's size is unknown."""
    return estimate_memory(workload(spec, facts, resolved), num_gpus=resolved.world_size)


def choose_hardware(spec: TrainSpec, facts: Facts) -> FlavorChoice:
    """The flavor that the user named, or the cheapest that fits."""
    return choose_machine(spec, facts)[0]


def choose_machine(spec: TrainSpec, facts: Facts) -> tuple[FlavorChoice, str]:
    """The flavor, and how the model is spread over its GPUs.

    A copy of the model on each GPU is the simplest and the fastest; only where it fits nowhere is the model spread.
    """
    first = first_strategy(spec)
    choice = _choose(spec, facts, first)
    if not may_shard(spec) or choice.estimate is None:
        return choice, first
    if spec.hardware.flavor == "auto":
        suffices = choice.flavor is not None or spec.hardware.num_gpus == spec.hardware.nodes == 1
    else:
        several = planned_gpus(spec, choice.flavor) * spec.hardware.nodes > 1
        suffices = not several or choice.headroom is None or choice.headroom >= 0
    if suffices:
        return choice, first
    spread = _choose(spec, facts, "fsdp2")
    fits = spread.flavor is not None and spread.headroom is not None and spread.headroom >= 0
    return (spread, "fsdp2") if fits else (choice, first)


def _choose(spec: TrainSpec, facts: Facts, strategy: str) -> FlavorChoice:
    hardware = facts.hardware or snapshot()
    wanted = spec.hardware
    if wanted.flavor != "auto":
        flavor = find_flavor(wanted.flavor, hardware)
        if flavor is None:
            return FlavorChoice.named(None)
        resolved = resolve(spec, facts, flavor, backend="hub", strategy=strategy)
        return FlavorChoice.named(flavor, memory_of(spec, facts, resolved))
    precision, is_set = precision_of(spec, None)
    resolved = resolve(spec, facts, None, backend="hub", strategy=strategy)
    parameters = facts.model.num_parameters or count_parameters(facts.model)
    aside = server_gpus(spec)
    several = 2 if wanted.nodes == 1 else 1
    spread: dict[int, MemoryEstimate] = {}
    if strategy in SHARDED:
        for count in sorted({flavor.num_gpus for flavor in hardware.flavors if flavor.num_gpus >= several}):
            if (memory := memory_of(spec, facts, replace(resolved, num_gpus=count))) is not None:
                spread[count] = memory
    requirements = Requirements(
        memory=memory_of(spec, facts, resolved),
        spread=spread,
        bf16=precision == "bf16" or not is_set,
        min_gpus=aside + (wanted.num_gpus or (several if wanted.strategy == "ddp" or strategy in SHARDED else 1)),
        max_gpus=1 + aside if wanted.strategy == "single" else None,
        max_usd_per_hour=wanted.max_usd_per_hour,
        weights_bytes=parameters * BYTES.get(resolved.dtype, 4.0) if parameters else None,
    )
    return choose_flavor(requirements, hardware)
