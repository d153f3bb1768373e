"""Peaks of measured runs by simulation, each distinct run once in a process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hfjobs_trainer.facts import SimulatedPeak
from hfjobs_trainer.gathering.simulation import simulate
from hfjobs_trainer.planning.memory import Workload
from hfjobs_trainer.planning.simulated import question_of

_KNOWN: dict[str, SimulatedPeak] = {}


def simulate_all(workloads: Sequence[Workload]) -> list[SimulatedPeak]:
    """The simulation of each workload, with as many child processes as there are cores."""
    new = {question: each for each in workloads if (question := question_of(each)) not in _KNOWN}
    for peak in simulate(list(new.values()), num_workers=os.cpu_count() or 1):
        _KNOWN[peak.question] = peak
    return [_KNOWN[question_of(each)] for each in workloads]


def simulate_peaks(workloads: Sequence[Workload | None], num_gpus: Sequence[int]) -> list[float | None]:
    """Bytes of live tensors at each workload's peak on one of its GPUs; ``None`` where it is not simulated.

    On several GPUs DDP's buckets hold the gradients once more.
    """
    asked = [each for each in workloads if each is not None]
    found = iter(simulate_all(asked))
    peaks: list[float | None] = []
    for workload, gpus in zip(workloads, num_gpus, strict=True):
        peak = next(found) if workload is not None else None
        live = peak.peak_bytes if peak is not None else None
        if live is not None and peak is not None and gpus > 1:
            live += max(peak.gradients.values())
        peaks.append(live)
    return peaks
