"""How long a plan with its script takes: the first of a process beside HfApi's import, and those that follow.

Run with ``python -m benchmarks.plan_render [runs]``. Nothing is asked of the Hub. What is printed is the median of the
CPU time over the runs (default 1,000), each the whole way from a spec and facts that were not seen before.
The starts find the templates compiled (``rendering/compiled.py``), as every process does but the first after an
installation, and those for which Python may not keep compiled files.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hfjobs_trainer as hft
from benchmarks import import_time
from benchmarks.picks import facts_of
from hfjobs_trainer.codegen.examples import EXAMPLES

STARTS = 11
"""Runs of each way to start, which are slower than a plan."""

_SFT: dict[str, Any] = {"model": "org/model", "dataset": "org/data", "lora": hft.LoRA()}
# what is planned, the facts, and the most milliseconds that it should take
TARGETS: dict[str, tuple[Callable[[], Any], hft.Facts, int]] = {
    "named flavor, all known": (lambda: hft.SFT(**_SFT, hardware="l4x1"), facts_of("qwen2-7b"), 4),
    "automatic flavor, all known": (lambda: hft.SFT(**_SFT), facts_of("qwen2-7b"), 8),
}


def plan_times(build: Callable[[], Any], facts: hft.Facts, runs: int) -> list[float]:
    """CPU milliseconds of each plan, the shortest first."""
    hft.plan(build(), facts=facts)  # the first one reads the templates and the table of flavors
    times: list[float] = []
    for _ in range(runs):
        spec, known = build(), replace(facts)
        start = time.process_time()
        hft.plan(spec, facts=known)
        times.append((time.process_time() - start) * 1000)
    return sorted(times)


def main() -> None:
    """Print one line for each way to start and each plan."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    import_time.report(min(runs, STARTS))
    print(f"\nCPU time of one plan with its script, median of {runs}")
    for name, (build, facts, target) in TARGETS.items():
        _print(name, plan_times(build, facts, runs), f"  (target {target} ms)")
    for name, build in EXAMPLES.items():
        _print(f"{name}, nothing known", plan_times(build, hft.Facts(), runs))


def _print(name: str, times: list[float], target: str = "") -> None:
    late = times[int(0.99 * len(times))]
    print(f"{name:<44}{statistics.median(times):7.2f} ms  99th percentile {late:.2f}{target}")


if __name__ == "__main__":
    main()
