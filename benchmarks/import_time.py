"""How long the package takes to start, in CPU time, beside ``from huggingface_hub import HfApi``.

Run with ``python -m benchmarks.import_time [runs]``. Each statement runs in fresh processes, which take turns; what is
printed is the median of user and system time over the runs (default 11), the interpreter's own start included.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass

SPEC = "hft.SFT(model='Qwen/Qwen2.5-0.5B', dataset='trl-lib/Capybara', hardware='l4x1')"


@dataclass(frozen=True)
class Start:
    """One way to start.

    Attributes:
        name: What it does.
        code: The code that does it.
        target: Most CPU time that it should take, as a multiple of HfApi's; ``None`` for no target.
    """

    name: str
    code: str
    target: float | None = None


HF_API = Start("from huggingface_hub import HfApi", "from huggingface_hub import HfApi")
STARTS = (
    Start("python", "pass"),
    HF_API,
    Start("import hfjobs_trainer", "import hfjobs_trainer"),
    Start("import, first spec", f"import hfjobs_trainer as hft; {SPEC}", 1.0),
    Start("import, spec, plan, script", f"import hfjobs_trainer as hft; hft.render({SPEC}, facts=hft.Facts())", 1.6),
)


def cpu_seconds(code: str) -> float:
    """User and system time of a fresh process that runs the code."""
    # Python keeps what it compiled, as it does for those who use the package
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(runs: int) -> dict[str, float]:
    """Median CPU seconds by the name of the start."""
    for start in STARTS:
        cpu_seconds(start.code)  # the first run of all compiles and warms the disk's cache
    # They take turns, so that whatever else the machine does falls on all of them.
    rounds = [[cpu_seconds(start.code) for start in STARTS] for _ in range(runs)]
    return {
        start.name: statistics.median(times) for start, times in zip(STARTS, zip(*rounds, strict=True), strict=True)
    }


def report(runs: int) -> None:
    """Print one line for each start."""
    seconds = measure(runs)
    print(f"CPU time from start to end of a process, median of {runs}")
    for start in STARTS:
        ratio = seconds[start.name] / seconds[HF_API.name]
        target = f"  (target {start.target:.1f}x)" if start.target else ""
        print(f"{start.name:<36}{seconds[start.name] * 1000:7.1f} ms {ratio:6.2f}x{target}")


if __name__ == "__main__":
    report(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
