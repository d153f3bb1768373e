"""Peaks of measured runs by simulation, each distinct run once in a process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from benchmarks.measurements import Measurement
from hfjobs_trainer.facts import SimulatedPeak
from hfjobs_trainer.gathering.simulation import simulate
from hfjobs_trainer.planning.memory.estimate import GIB, MemoryEstimate
from hfjobs_trainer.planning.memory.simulated import question_of, spread_peak, why_not
from hfjobs_trainer.planning.memory.workload import Workload
from hfjobs_trainer.planning.model.optimizers import is_paged

_KNOWN: dict[str, SimulatedPeak] = {}


def simulate_all(runs: Sequence[tuple[Workload, int]]) -> list[SimulatedPeak]:
    """The simulation of each run, given with its GPUs, with as many child processes as there are cores."""
    new = {question: each for each in runs if (question := question_of(*each)) not in _KNOWN}
    for peak in simulate(list(new.values()), num_workers=os.cpu_count() or 1):
        _KNOWN[peak.question] = peak
    return [_KNOWN[question_of(*each)] for each in runs]


def predict(rows: Sequence[Measurement], closed: Mapping[str, MemoryEstimate]) -> dict[str, float | None]:
    """The peak of each row in GiB and in its metric, ``None`` where its workload is not simulated.

    Args:
        rows: What was measured.
        closed: The closed form's estimate by row: the CUDA context and NCCL are taken from it.
    """
    asked = [row for row in rows if row.row_id in closed]
    tried = [(row, row.workload) for row in asked if row.workload is not None and why_not(row.workload) is None]
    peaks = simulate_all([(workload, row.num_gpus) for row, workload in tried])
    found: dict[str, float | None] = {row.row_id: None for row in asked}
    return found | {
        row.row_id: _comparable(row, peak, closed[row.row_id]) for (row, _), peak in zip(tried, peaks, strict=True)
    }


def reasons(rows: Sequence[Measurement]) -> dict[str, str]:
    """Why rows were not simulated, after ``predict``."""
    found: dict[str, str] = {}
    for row in rows:
        if row.workload is None:
            continue
        peak = _KNOWN.get(question_of(row.workload, row.num_gpus))
        reason = why_not(row.workload) or (peak.unsupported if peak is not None else None)
        if reason is not None:
            found[row.row_id] = reason
    return found


def seconds() -> list[float]:
    """What each simulation took."""
    return [peak.seconds for peak in _KNOWN.values() if peak.unsupported is None]


def _comparable(row: Measurement, peak: SimulatedPeak, closed: MemoryEstimate) -> float | None:
    if peak.peak_bytes is None or row.workload is None:
        return None
    peak = spread_peak(peak, row.workload, row.num_gpus)
    live = peak.peak_bytes or 0.0
    # DDP's buckets hold the gradients once more
    more = max(peak.gradients.values()) if row.num_gpus > 1 and not row.sharded else 0.0
    paged = peak.static["optimizer_states"] if is_paged(row.workload.optim) else 0.0
    if row.metric == "allocated":
        return (live + more - paged) / GIB
    taken, beside = peak.reserved + more, closed.overhead
    if row.gpu_gib is not None and live + more + beside < row.gpu_gib * GIB:
        # near the end of the GPU's memory, of which the CUDA context has its part, the allocator gives back its cache
        taken = min(taken, row.gpu_gib * GIB - beside)
    return (taken - paged if row.metric == "reserved" else taken + beside) / GIB
