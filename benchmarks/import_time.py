"""How long ``import hfjobs_trainer`` takes, also with a spec class, beside ``HfApi``; each in a fresh process.

Run with ``python -m benchmarks.import_time [runs]``; what is printed is the median over the runs (default 11). The
interpreter's own start is not counted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

STATEMENTS = ("import hfjobs_trainer", "from hfjobs_trainer import SFT", "from huggingface_hub import HfApi")
TIMED = "import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"


def time_import(statement: str) -> float:
    """Seconds that the statement takes in a fresh process."""
    command = [sys.executable, "-c", TIMED.format(statement=statement)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print one line per statement."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    for statement in STATEMENTS:
        time_import(statement)  # the first run of all compiles and warms the disk's cache
    # The statements take turns, so that whatever else the machine does falls on both.
    seconds = [[time_import(statement) for statement in STATEMENTS] for _ in range(runs)]
    for statement, times in zip(STATEMENTS, zip(*seconds, strict=True), strict=True):
        median, best = statistics.median(times) * 1000, min(times) * 1000
        print(f"{statement:<36}{median:7.1f} ms  (median of {runs}, best {best:.1f})")


if __name__ == "__main__":
    main()
