"""What the script compares its first steps with: the plan's ranges as numbers."""

from __future__ import annotations

from typing import Any

from hfjobs_trainer.planning.duration.ranges import Range
from hfjobs_trainer.planning.estimate import Estimate
from hfjobs_trainer.planning.memory.estimate import MARGIN_FACTOR, MARGIN_GIB
from hfjobs_trainer.planning.run import Run


def planned_pace(estimate: Estimate, run: Run) -> dict[str, Any]:
    """Arguments of the script's ``check_pace``; nothing of what is unknown, and no ranges without a rented machine.

    The memory is that of live tensors, which torch counts: how much of it the allocator keeps beside them depends on
    how full the GPU is. Of vLLM in the same process it is not known.
    """
    hardware = run.hardware
    found: dict[str, Any] = {}
    if hardware.stop_if_over:
        found["stop_if_over"] = True
    machine, duration, memory = estimate.machine, estimate.duration, estimate.memory
    if machine.flavor is None or not machine.is_rented:
        return found
    planned: dict[str, Any] = {"flavor": machine.flavor.name}
    if duration is not None:
        planned["seconds_per_step"] = _bounds(duration.seconds_per_step)
        if "generation" not in duration.parts:
            planned["tokens_per_second"] = _bounds(duration.tokens_per_second)
        rest = ("evaluation", "checkpoints", "push")
        planned["rest"] = round(sum(part.expected for name, part in duration.parts.items() if name in rest))
    if memory is not None and run.vllm is None and machine.num_gpus:
        planned["memory_gib"] = (0.0, _short(memory.allocated_gib * MARGIN_FACTOR + MARGIN_GIB))
    if machine.usd_per_hour is not None:
        planned["usd_per_hour"] = machine.usd_per_hour
        if hardware.max_usd is not None:
            planned["max_usd"] = hardware.max_usd / hardware.attempts
    return planned | found


def _bounds(each: Range) -> tuple[float, float]:
    return _short(each.low), _short(each.high)


def _short(value: float) -> float:
    """A number with three significant digits."""
    return float(f"{value:.3g}")
