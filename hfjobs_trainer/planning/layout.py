"""How a run can be laid out on GPUs: strategy, batch per device, accumulation, activations kept or recomputed.

In every layout the sequences of an optimiser step are those that the spec asks for; packed ones hold several rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hfjobs_trainer.planning.arguments.strategies import first_strategy, sharding_strategies
from hfjobs_trainer.specs.base import TrainSpec

MOST_PER_DEVICE = 64
"""Largest batch per device that is tried: beyond it a GPU is busy already."""

# Arguments that tie the batch per device to how completions are generated.
_TIES = ("generation_batch_size", "steps_per_generation", "auto_find_batch_size")


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to run on the GPUs of a machine.

    Attributes:
        num_gpus: GPUs of one machine that train.
        strategy: How the model is spread over them, as in ``hft.Hardware``, never ``"auto"``.
        per_device_train_batch_size: Rows that one GPU computes at once.
        gradient_accumulation_steps: Batches of one optimiser step.
        gradient_checkpointing: Whether activations are recomputed.
        packing: Whether the planner packs several rows into one sequence.
        vllm_tensor_parallel_size: GPUs that share one copy of the model in a vLLM beside training.
        save_total_limit: Checkpoints that are kept, where the disk does not hold all; ``None``: as the spec says.
    """

    num_gpus: int
    strategy: str
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    packing: bool = False
    vllm_tensor_parallel_size: int = 1
    save_total_limit: int | None = None

    def __str__(self) -> str:
        batch = f"{self.per_device_train_batch_size} per device x {self.gradient_accumulation_steps}"
        batch += f" x {self.num_gpus} GPUs" if self.num_gpus > 1 else ""
        kept = "recomputed" if self.gradient_checkpointing else "kept"
        spread = f"{self.strategy}, " if self.num_gpus > 1 else ""
        return f"{spread}{batch}{', packed' if self.packing else ''}, activations {kept}"


def layouts(spec: TrainSpec, num_gpus: int, *, nodes: int = 1, most_packed: int = 0) -> Iterator[Layout]:
    """Every layout on machines with ``num_gpus`` training GPUs, TRL's defaults first; none if no batch can be formed.

    Args:
        spec: What is asked for; what it sets is the same in all layouts.
        num_gpus: GPUs of one machine that train.
        nodes: Machines.
        most_packed: Packed sequences per device at most; 0 where the planner packs nothing.
    """
    world = num_gpus * nodes
    batches = [(*batch, False) for batch in _batches(spec, world)]
    batches += [(*batch, True) for batch in _batches(spec, world) if batch[0] <= most_packed]
    strategies = [first_strategy(spec)]
    if world > 1:
        strategies += sharding_strategies(spec)
    for strategy in strategies:
        for recomputed in (True, False) if may_keep_activations(spec) else (recomputes(spec),):
            for per_device, steps, packing in batches:
                yield Layout(num_gpus, strategy, per_device, steps, recomputed, packing)


def recomputes(spec: TrainSpec) -> bool:
    """Whether activations are recomputed as the spec has it, TRL's default included."""
    if not type(spec).TRAINING.recomputes:
        return False
    return spec.activation_checkpointing if spec.activation_checkpointing is not None else spec.gradient_checkpointing


def may_keep_activations(spec: TrainSpec) -> bool:
    """Whether the planner may switch recomputing off."""
    return recomputes(spec) and spec.activation_checkpointing is None and not spec.is_set("gradient_checkpointing")


def _batches(spec: TrainSpec, world: int) -> Iterator[tuple[int, int]]:
    """Rows per device and accumulation steps, the most rows first; a batch that the spec leaves open is of TRL's size.

    TRL's is so many rows per device: it grows with the GPUs, be they named or chosen.
    """
    wanted = spec.global_batch_size
    per_device, steps = spec.per_device_train_batch_size, spec.gradient_accumulation_steps
    free = not spec.is_set("per_device_train_batch_size"), not spec.is_set("gradient_accumulation_steps")
    if wanted is None:
        if not may_choose_batch(spec):
            yield per_device, steps
            return
        wanted, most = per_device * steps * world, per_device
    else:
        most = MOST_PER_DEVICE
    if wanted % world:
        return
    share = wanted // world
    least = least_per_device(spec)
    if not free[0]:
        sizes = [per_device]
    elif not free[1]:
        sizes = [share // steps]
    elif type(spec).TRAINING.free_batch and not any(spec.is_set(name) for name in _TIES):
        sizes = range(min(share, most), 0, -1)
    else:
        sizes = range(min(share, per_device), 0, -1)
        sizes = [next(size for size in sizes if share % size == 0)]
    for size in sizes:
        if size and share % size == 0 and (size >= least or not free[0]) and (free[1] or size * steps == share):
            yield size, share // size


def least_per_device(spec: TrainSpec) -> int:
    """The fewest rows per device that the planner takes."""
    return type(spec).TRAINING.least_per_device


def usual_layout(spec: TrainSpec, num_gpus: int, *, nodes: int = 1) -> Layout | None:
    """The layout where nothing is known of memory: TRL's defaults, within the global batch; ``None`` if none is whole.

    Args:
        spec: What is asked for.
        num_gpus: GPUs of one machine that train.
        nodes: Machines.
    """
    most = spec.per_device_train_batch_size
    for layout in layouts(spec, num_gpus, nodes=nodes):
        if spec.is_set("per_device_train_batch_size") or layout.per_device_train_batch_size <= most:
            return layout
    return None


def may_choose_batch(spec: TrainSpec) -> bool:
    """Whether the batch per device is the planner's to choose where no ``global_batch_size`` is given."""
    given = ("per_device_train_batch_size", "gradient_accumulation_steps", *_TIES)
    return type(spec).TRAINING.free_batch and not any(spec.is_set(name) for name in given)


def eval_batch_size(spec: TrainSpec, layout: Layout) -> int:
    """Rows that one GPU evaluates at once: no more than in training, where that is the planner's to say.

    Where answers are generated, the batch of an evaluation must hold whole groups of them, and stays as it is.
    """
    usual = spec.per_device_eval_batch_size
    training = type(spec).TRAINING
    if spec.is_set("per_device_eval_batch_size") or not training.free_batch or training.answers is not None:
        return usual
    return min(usual, layout.per_device_train_batch_size)


def syncs_each_batch(spec: TrainSpec, layout: Layout) -> bool:
    """Whether the planner has FSDP spread gradients after each batch.

    Otherwise each GPU keeps all gradients until the last batch of a step (accelerate's ``no_sync``).
    """
    accumulates = layout.gradient_accumulation_steps > 1 and layout.strategy in ("fsdp1", "fsdp2")
    return accumulates and spec.hardware.accelerator_config is None
