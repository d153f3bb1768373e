"""How long planning and rendering take for each example spec, in milliseconds; nothing is asked of the Hub.

Run with ``python -m benchmarks.plan_render [runs]``; what is printed is the median over the runs (default 1,000), each
the whole way from the spec to the plan with its script.
"""

from __future__ import annotations

import statistics
import sys
import time

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES


def time_plan(spec: hft.SFT | hft.DPO | hft.GRPO, facts: hft.Facts) -> float:
    """Seconds that one plan takes, its script included."""
    start = time.perf_counter()
    hft.plan(spec, facts=facts)
    return time.perf_counter() - start


def main() -> None:
    """Print one line per example."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for name, build in EXAMPLES.items():
        spec, facts = build(), hft.Facts()
        time_plan(spec, facts)  # the first one reads the templates and the table of flavors
        times = sorted(time_plan(spec, facts) for _ in range(runs))
        median, late = statistics.median(times) * 1000, times[int(0.99 * len(times))] * 1000
        print(f"{name:<28}{median:7.2f} ms  (median of {runs}, 99th percentile {late:.2f})")


if __name__ == "__main__":
    main()
