"""Rules about the memory of the machine's GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hfjobs_trainer.facts import Flavor
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.estimate import NO_CHANGE
from hfjobs_trainer.planning.memory.estimate import Verdict
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec

_PATH = "hardware.flavor"


def unknown_sizes(context: Context[TrainSpec]) -> str:
    """What is not known of which memory depends."""
    return " and ".join(context.run.unknown)


class _Peak(NamedTuple):
    """A named flavor at the peak: GiB of each of its GPUs, GiB that are left there, and GiB that should be."""

    flavor: Flavor
    usable: float
    spare: float
    margin: float


def _peak(context: Context[TrainSpec], verdict: Verdict) -> _Peak | None:
    """The named flavor at the run's peak, if that is the verdict; else ``None``."""
    flavor = context.named_flavor
    if flavor is None or not flavor.num_gpus or context.spec.use_cpu:
        return None
    about = [path for item in context.run.unknown for path in item.about]
    memory = need(context.memory, unknown_sizes(context), *about)
    usable = need(flavor.usable_gpu_memory_gib, f"the memory of {flavor.name}")
    if memory.verdict(usable, flavor.num_gpus) != verdict:
        return None
    return _Peak(flavor, usable, memory.headroom_gib(usable, flavor.num_gpus), memory.margin_gib)


def nothing_tried(context: Context[TrainSpec]) -> str:
    """What is added to a reason where the planner found no change with which the run fits."""
    return "" if context.estimate.fix else f"; {NO_CHANGE}"


@rule("MEM001", stage="run", scope="remote")
def run_fits_in_memory(context: Context[TrainSpec]) -> Iterator[Found]:
    """The run fits in the memory of the named flavor.

    What it does:
        Refuses a named flavor whose GPU has less memory than the estimated peak, by more than the estimate's margin.
        The fix is the nearest change with which the planner finds that the run fits: fewer rows at once, an adapter,
        4 bits, another flavor, shorter rows.

    Why:
        The job would end in an out-of-memory error, often only at the first long batch.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-7B", dataset=..., hardware="a10g-small")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-7B", dataset=..., lora=hft.LoRA(), quantization="4bit", hardware="a10g-small")
        ```
    """
    if peak := _peak(context, "does not fit"):
        needs, has = f"needs about {peak.usable - peak.spare:.1f} GiB", f"has {peak.usable:.1f} GiB"
        why = f"does not fit: {needs}, a GPU of {peak.flavor.name} {has}{nothing_tried(context)}"
        yield Found(_PATH, why, context.estimate.fix)


@rule("MEM002", stage="run", scope="remote", severity="warning")
def run_fits_with_a_margin(context: Context[TrainSpec]) -> Iterator[Found]:
    """The run fits in the memory of the named flavor with a margin.

    What it does:
        Warns where the estimated peak and the GPU's memory are closer to each other than the estimate's margin, 20% and
        half a GiB.

    Why:
        The peak is an estimate; published runs exceed it by up to that much.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-1.5B", dataset=..., hardware="a10g-small")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-1.5B", dataset=..., per_device_train_batch_size=2, hardware="a10g-small")
        ```
    """
    if peak := _peak(context, "tight"):
        above = f"{-peak.spare:.1f} GiB above its {peak.usable:.1f} GiB"
        left = f"{peak.spare:.1f} GiB free" if peak.spare >= 0 else above
        why = f"is tight: {left} at the estimated peak, {peak.margin:.1f} GiB are advised"
        yield Found(_PATH, f"{peak.flavor.name} {why}", context.estimate.fix)
