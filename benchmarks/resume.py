"""Runs that are killed and resumed, beside the same runs unbroken: python -m benchmarks.resume.

Each case trains six steps, with dropout and a checkpoint after each second one. At each point it is killed with
SIGKILL and resumed by another process, with other seeds, no cache and, where checkpoints go to a mount, on an empty
disk. It is equal if each loss, gradient norm, reward and metric of each step, and the digest of the final weights, are
those of the run that nothing stopped. See ``tests/e2e/killed.py`` and ``tests/e2e/kill_points.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

from benchmarks.requests import TOKEN, stand_in
from tests.e2e.kill_points import IN_STEP_5, PUSHED, cases, points_of
from tests.e2e.killed import Case, Place, Trial, Verdict, make_inputs
from tests.e2e.methods import Inputs, Warm

PLACES: tuple[Place, ...] = ("mount", "disk")


class Workers:
    """Threads with two warm processes each, whose hashes of strings differ: one trains, another resumes."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.own = folder, local()
        self.warm: list[Warm] = []
        self.pool = ThreadPoolExecutor(number, initializer=self.begin)

    def begin(self) -> None:
        number = len(self.warm)
        self.own.pair = [Warm(self.folder / f"warm-{number}-{seed}", PYTHONHASHSEED=seed) for seed in ("1", "2")]
        self.warm += self.own.pair

    def close(self) -> None:
        for process in self.warm:
            process.close()


def main() -> None:
    """Kill and resume what was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", help="cases whose names begin so, separated by commas: sft,dpo lora")
    parser.add_argument("--points", help="points whose names have one of these, separated by commas: half,manifest")
    parser.add_argument("--place", choices=PLACES, action="append", help="where checkpoints are kept; default: both")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time; default 2")
    parser.add_argument("--json", type=Path, help="a file to write each verdict to")
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hft-resume-") as name:
        folder = Path(name)
        inputs = make_inputs(folder / "inputs")
        places: tuple[Place, ...] = tuple(asked.place or PLACES)
        chosen: list[tuple[Case, Place]] = [
            (case, place)
            for case in cases(str(inputs.data("messages")))
            for place in places
            if case.name.startswith(tuple((asked.only or "").split(",")))
        ]
        workers = Workers(folder, asked.workers)
        tries = [
            workers.pool.submit(judge, workers, case, place, inputs, folder, (asked.points or "").split(","))
            for case, place in chosen
        ]
        found: list[Verdict] = []
        for job in tries:
            found += job.result()
        workers.close()
        names = tuple((asked.only or "").split(","))
        if PUSHED.name.startswith(names):
            found += judge_pushes(inputs, folder)
        if "processes".startswith(names):
            move(folder)
    print_table(found)
    print(f"{len(found)} kills of {len(chosen)} runs in {time.monotonic() - began:.0f} s")
    if asked.json:
        asked.json.write_text(json.dumps([vars(verdict) for verdict in found], indent=1), encoding="utf-8")


def judge(
    workers: Workers, case: Case, place: Place, inputs: Inputs, folder: Path, words: Sequence[str]
) -> list[Verdict]:
    """Kill one case at each point whose name has one of the words."""
    train, resume = workers.own.pair
    trial = Trial(case, inputs, train, folder / place / case.name.replace(" ", "-"), place, resume)
    return judge_trial(trial, words)


def judge_pushes(inputs: Inputs, folder: Path) -> list[Verdict]:
    """Kill a run while its model goes to a stand-in of the Hub."""
    with stand_in() as endpoint:
        warm = Warm(folder / "warm-hub", HF_ENDPOINT=endpoint, HF_TOKEN=TOKEN, HF_HUB_OFFLINE="0")
        found = judge_trial(Trial(PUSHED, inputs, warm, folder / "pushed"), ("",))
        warm.close()
    return found


def move(folder: Path) -> None:
    """Have other numbers of processes go on, without dropout, and print how far the losses are from the unbroken run's.

    With another number of sequences per step they must refuse.
    """
    inputs, warm = make_inputs(folder / "steady", dropout=0.0), Warm(folder / "warm-moved")
    for name, fields, begin, end in (
        ("as many sequences per step", {"global_batch_size": 8}, 2, 1),
        ("as many sequences per step", {"global_batch_size": 8}, 1, 2),
        ("other sequences per step", {}, 2, 1),
    ):
        trial = Trial(Case("moved", "sft", fields, begin), inputs, warm, folder / f"moved-{begin}-{len(fields)}")
        again = trial.move(IN_STEP_5, end)
        steps, expected = again.steps(), trial.unbroken.steps()
        off = [abs(steps[key]["loss"] / expected[key]["loss"] - 1) for key in steps]
        told = f"losses off by {max(off):.1e} at most" if off else f"refused with status {again.status}"
        print(f"{begin} -> {end} processes, {name}: {told}", flush=True)
    warm.close()


def judge_trial(trial: Trial, words: Sequence[str]) -> list[Verdict]:
    """Kill what was run unbroken at each point whose name has one of the words."""
    case, place = trial.case, trial.place
    found: list[Verdict] = []
    for point in points_of(case, place):
        if any(word in point.name for word in words):
            found.append(trial.kill(point))
            if not found[-1].is_equal:
                print(f"{case.name} ({place}), {point.name}: {'; '.join(found[-1].differences)}", flush=True)
    equal = sum(verdict.is_equal for verdict in found)
    print(f"{case.name} ({place}): {equal} of {len(found)} equal", flush=True)
    return found


def print_table(found: Sequence[Verdict]) -> None:
    """Print tried, equal, not equal and not reached by point and by case, and what differs."""
    for head, key in (("point", "point"), ("case", "case")):
        print(f"\n{head:<34}{'tried':>6}{'equal':>7}{'unequal':>9}{'not reached':>13}{'steps lost':>12}")
        groups: dict[str, list[Verdict]] = {}
        for verdict in found:
            groups.setdefault(str(getattr(verdict, key)), []).append(verdict)
        for name, group in groups.items():
            count = Counter("equal" if v.is_equal else "unequal" if v.reached else "missed" for v in group)
            lost = max(v.lost_steps for v in group)
            print(f"{name:<34}{len(group):>6}{count['equal']:>7}{count['unequal']:>9}{count['missed']:>13}{lost:>12}")
    saves = [seconds for verdict in found for seconds in verdict.copies]
    if saves:
        print(f"\na copy to the mount, read back: {statistics.median(saves):.2f} s (median of {len(saves)})")


if __name__ == "__main__":
    main()
