"""Specs, files and command lines that nobody should write: ``check`` reports them, ``load`` returns or refuses.

Everything runs in processes of its own, with a bound on memory, so that what hangs or takes all memory is counted and
does not end the series. What is tried is made by ``tests/specs/hostile.py``.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults.report import Section, Violation
from tests.specs import hostile, promises

SPECS = 22_000
"""Generated specs at scale 1."""
HANGS = 20.0
"""Seconds after which something hangs, seconds; on two cores that others use too."""
SLOW = 5.0
"""Seconds of processor time from which something counts as slow."""
_MEMORY = 6 << 30
"""Bytes of address space of a process in which it is tried."""
_BATCH = 50
"""A process is replaced after so many, since hostile objects leave traces."""


_Answer = tuple[promises.Breach | None, float]


class _Trial(NamedTuple):
    label: str
    run: Callable[[], promises.Breach | None]


def run(*, scale: float = 1.0, seed: int = 0) -> Section:
    """Try them, at ``scale`` so many of them, and count what raises anything else, hangs, or says too much."""
    series = {"specs": _specs(int(SPECS * scale), seed)}
    series |= {"files": _thinned(_files(), scale, seed), "places": _thinned(_places(), scale, seed)}
    violations: list[Violation] = []
    notes: list[str] = []
    for name, trials in series.items():
        found, longest = _try_all(trials)
        violations += found
        raised = sum(" raised " in each.kind for each in found)
        hung = sum(each.kind in ("hangs", "slow") for each in found)
        told = f"{name}: {len(trials):,} tried, {raised} raise, {hung} hang, {len(found) - raised - hung} others"
        notes.append(f"{told}; longest {longest:.1f} s of processor time")
    return Section("Hostile specs and files", sum(map(len, series.values())), tuple(violations), tuple(notes))


def _thinned(trials: Sequence[_Trial], scale: float, seed: int) -> Sequence[_Trial]:
    count = min(len(trials), int(len(trials) * scale))
    return trials if count == len(trials) else random.Random(seed).sample(list(trials), count)


def _specs(count: int, seed: int) -> list[_Trial]:
    drawn = [hostile.draw_spec(random.Random(f"{seed}/{number}").choice) for number in range(count)]
    whole = [hostile.Case(label, make) for label, make in hostile.WHOLE.items()]
    return [
        _Trial(case.label, partial(_of_spec, case.make, number % 4 == 0))
        for number, case in enumerate([*whole, *drawn] if count else [])
    ]


def _of_spec(make: Callable[[], Any], builds: bool) -> promises.Breach | None:
    found = promises.breach_of_check(make())
    return found or (promises.breach_of_build(make()) if builds else None)


def _files() -> list[_Trial]:
    return [_Trial(label, partial(_in_folder, make, promises.breach_of_load)) for label, make in hostile.files()]


def _places() -> list[_Trial]:
    return [_Trial(label, partial(_in_folder, make, _both)) for label, make in hostile.places()]


def _both(spec: Any) -> promises.Breach | None:
    return promises.breach_of_check(spec) or promises.breach_of_build(spec)


def _in_folder(make: hostile.Make, find: Callable[[Any], promises.Breach | None]) -> promises.Breach | None:
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        return find(make(Path(folder)))


# -- processes


def _try_all(trials: Sequence[_Trial]) -> tuple[list[Violation], float]:
    """What went wrong, and the longest that one of them took, in seconds of processor time."""
    found: list[Violation] = []
    longest = 0.0
    following = 0
    while following < len(trials):
        batch = range(following, min(following + _BATCH, len(trials)))
        for index, breach, took in _try_batch(trials, batch):
            following = index + 1
            longest = max(longest, took)
            if breach is None and took > SLOW:
                breach = promises.Breach("slow", f"{took:.1f} s of processor time")
            if breach is not None:
                found.append(Violation(breach.kind, trials[index].label[:200], breach.seen))
    return found, longest


def _try_batch(trials: Sequence[_Trial], batch: range) -> list[tuple[int, promises.Breach | None, float]]:
    """Those of the batch that were tried; the last of them may have hung, or ended the process."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    home = tempfile.mkdtemp(prefix="hostile-home-")
    process = context.Process(target=_serve, args=(theirs, trials, batch, home), daemon=True)
    process.start()
    theirs.close()
    results: list[tuple[int, promises.Breach | None, float]] = []
    try:
        for index in batch:
            try:
                hung: _Answer = (promises.Breach("hangs", f"over {HANGS:.0f} s"), 0.0)
                answer: _Answer = ours.recv() if ours.poll(HANGS) else hung
            except EOFError:
                process.join()
                answer = (promises.Breach("ends the process", f"exit code {process.exitcode}"), 0.0)
            results.append((index, answer[0], answer[1]))
            if answer[0] is not None and answer[0].kind in ("hangs", "ends the process"):
                break
    finally:
        process.kill()
        process.join()
        ours.close()
        shutil.rmtree(home, ignore_errors=True)
    return results


def _serve(answers: Connection, trials: Sequence[_Trial], batch: range, home: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ |= {"HFT_HOME": home, "HF_HOME": home, "HF_HUB_OFFLINE": "1"}
    os.chdir(home)
    with Path(os.devnull).open("r+b") as nothing:
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
    for index in itertools.islice(batch, None):
        before = time.process_time()
        try:
            breach = trials[index].run()
        except Exception as error:
            breach = promises.Breach(f"the trial raised {type(error).__name__}", str(error)[:100])
        answers.send((breach, time.process_time() - before))
