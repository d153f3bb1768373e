"""Run with ``python -m benchmarks.faults [series ...] [--scale 1.0] [--seed 0]``; without names, every series."""

from __future__ import annotations

import argparse
import importlib

from benchmarks.faults.report import Section

SERIES: tuple[str, ...] = ("submitting", "logs", "local", "specs")


def main() -> None:
    """Run the series that are asked for, and print what they came to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("series", nargs="*", choices=[*SERIES, []], default=list(SERIES))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the faults that are tried (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in given.series:
        section: Section = importlib.import_module(f"benchmarks.faults.{name}").run(scale=given.scale, seed=given.seed)
        print(section, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
