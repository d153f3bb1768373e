"""The layouts of a run on GPUs: strategy, batch per device, accumulation, activations kept or recomputed.

Every layout has the sequences per optimizer step that the spec asks for; packed ones hold several rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hfjobs_trainer.planning.arguments.strategies import sharding_strategies
from hfjobs_trainer.planning.run import Batch, Run

MOST_PER_DEVICE = 64
"""Largest batch per device that is tried: a GPU is fully used by then."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to run on the GPUs of a machine.

    Attributes:
        num_gpus: GPUs of one machine that train.
        strategy: How the model is distributed over them, as in ``hft.Hardware``, never ``"auto"``.
        per_device_train_batch_size: Batch size per GPU.
        gradient_accumulation_steps: Batches per optimizer step.
        gradient_checkpointing: Whether activations are recomputed.
        packing: Whether the planner packs several rows into one sequence.
        vllm_tensor_parallel_size: GPUs that share one copy of the model in a vLLM next to training.
        save_total_limit: Checkpoints to keep, if the disk cannot hold all; ``None``: as in the spec.
    """

    num_gpus: int
    strategy: str
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    packing: bool = False
    vllm_tensor_parallel_size: int = 1
    save_total_limit: int | None = None

    def sequences(self, nodes: int = 1) -> int:
        """Sequences per optimizer step on this many machines, packed ones counted as one."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * self.num_gpus * nodes

    def __str__(self) -> str:
        batch = f"{self.per_device_train_batch_size} per device x {self.gradient_accumulation_steps}"
        batch += f" x {self.num_gpus} GPUs" if self.num_gpus > 1 else ""
        kept = "recomputed" if self.gradient_checkpointing else "kept"
        spread = f"{self.strategy}, " if self.num_gpus > 1 else ""
        return f"{spread}{batch}{', packed' if self.packing else ''}, activations {kept}"


def layouts(run: Run, num_gpus: int) -> Iterator[Layout]:
    """Every layout on machines with ``num_gpus`` training GPUs, TRL's defaults first; none if no batch can be formed.

    Args:
        run: The run; what the user set is the same in all layouts.
        num_gpus: GPUs of one machine that train.
    """
    world, most_packed = num_gpus * run.nodes, run.rows.most_packed
    sizes = list(_batches(run.batch, world))
    batches = [(*size, False) for size in sizes] + [(*size, True) for size in sizes if size[0] <= most_packed]
    strategies = (run.strategy, *(sharding_strategies(run) if world > 1 else ()))
    for strategy in strategies:
        for recomputed in (True, False) if run.may_keep_activations else (run.recomputes,):
            for per_device, steps, packing in batches:
                yield Layout(num_gpus, strategy, per_device, steps, recomputed, packing)


def _batches(batch: Batch, world: int) -> Iterator[tuple[int, int]]:
    """Batch sizes per device and accumulation steps, the largest batch first; by default the batch is of TRL's size.

    TRL's size is per device: the global batch grows with the GPUs, named or chosen.
    """
    wanted, most = batch.global_size, MOST_PER_DEVICE
    if wanted is None:
        if not batch.is_open:
            yield batch.per_device, batch.accumulation
            return
        wanted, most = batch.per_device * batch.accumulation * world, batch.per_device
    if wanted % world:
        return
    share = wanted // world
    if batch.per_device_is_set:
        sizes = [batch.per_device]
    elif batch.accumulation_is_set:
        sizes = [share // batch.accumulation]
    elif batch.is_free:
        sizes = range(min(share, most), 0, -1)
    else:
        sizes = range(min(share, batch.per_device), 0, -1)
        sizes = [next(size for size in sizes if share % size == 0)]
    for size in sizes:
        enough = size >= batch.least or batch.per_device_is_set
        whole = not batch.accumulation_is_set or size * batch.accumulation == share
        if size and share % size == 0 and enough and whole:
            yield size, share // size


def usual_layout(run: Run, num_gpus: int) -> Layout | None:
    """The layout if memory is unknown: TRL's defaults, within the global batch; ``None`` if it cannot be divided.

    Args:
        run: The run.
        num_gpus: GPUs of one machine that train.
    """
    most = run.batch.per_device
    for layout in layouts(run, num_gpus):
        if run.batch.per_device_is_set or layout.per_device_train_batch_size <= most:
            return layout
    return None


def given_layout(run: Run, num_gpus: int) -> Layout:
    """The layout of the spec's own numbers, even if the global batch cannot be divided so."""
    batch = run.batch
    return Layout(num_gpus, run.strategy, batch.per_device, batch.accumulation, run.recomputes)


def eval_batch_size(run: Run, layout: Layout) -> int:
    """Evaluation batch size per GPU: no larger than in training, if the planner may lower it."""
    usual = run.batch.eval_per_device
    return min(usual, layout.per_device_train_batch_size) if run.batch.eval_follows else usual


def syncs_each_batch(run: Run, layout: Layout) -> bool:
    """Whether the planner has FSDP reduce gradients after each batch.

    Otherwise each GPU keeps all gradients until the last batch of a step (accelerate's ``no_sync``).
    """
    accumulates = layout.gradient_accumulation_steps > 1 and layout.strategy in ("fsdp1", "fsdp2")
    return accumulates and run.hardware.accelerator_config is None


def resume_every(run: Run, layout: Layout, world: int) -> int:
    """The fewest optimizer steps after which no completion waits to be used, so that a resumed run is the same.

    Completions are written for several batches, and used for several steps; those that wait are in no checkpoint
    (TRL 1.16: ``_prepare_inputs`` of grpo_trainer.py and rloo_trainer.py). Where the batches of a step are counted
    when the script starts, it holds for any count.

    Args:
        run: The run.
        layout: Its layout.
        world: GPUs that train, over all machines.
    """
    answers, batch = run.answers, run.batch
    if answers is None:
        return 1
    per_device, steps = layout.per_device_train_batch_size, layout.gradient_accumulation_steps
    counted = batch.global_size is not None and not batch.accumulation_is_set
    if batch.generation_size is None and answers.batches is None:
        # those of one step
        return answers.rounds
    if batch.generation_size is not None and counted and batch.global_size:
        waiting, steps = batch.generation_size * answers.rounds, batch.global_size
    elif batch.generation_size is not None:
        waiting = max(1, batch.generation_size // (per_device * max(1, world))) * answers.rounds
    else:
        waiting = (answers.batches or 1) * answers.rounds
        steps = 1 if counted else steps
    return waiting // math.gcd(waiting, steps)
