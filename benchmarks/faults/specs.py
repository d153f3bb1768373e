"""Specs, files and command lines that nobody should write: ``check`` reports them, ``load`` returns or refuses.

Everything runs in processes of its own, with a bound on memory, so that what hangs or takes all memory is counted and
does not end the series. What is tried is made by ``tests/specs/hostile.py``.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, cast

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
_AT_ONCE = os.cpu_count() or 1
"""Processes at the same time."""


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


class _Batch(NamedTuple):
    """Trials that one process makes, and what it has answered until now.

    Attributes:
        process: The process.
        home: Its folder.
        left: The trials that it has not answered, the present one first.
        until: When the present one hangs, in seconds of the monotonic clock.
    """

    process: Any
    home: str
    left: deque[int]
    until: float


def _try_all(trials: Sequence[_Trial]) -> tuple[list[Violation], float]:
    """What went wrong, and the longest that one of them took, in seconds of processor time."""
    results: dict[int, _Answer] = {}
    numbers = range(len(trials))
    waiting = deque(deque(numbers[start : start + _BATCH]) for start in range(0, len(trials), _BATCH))
    running: dict[Connection, _Batch] = {}
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            answers, batch = _start(trials, waiting.popleft())
            running[answers] = batch
        ready = {cast("Connection", each) for each in multiprocessing.connection.wait([*running], timeout=0.5)}
        for answers, batch in [*running.items()]:
            answer = _answer(answers, batch) if answers in ready else _HUNG if time.monotonic() > batch.until else None
            if answer is None:
                continue
            results[batch.left.popleft()] = answer
            running[answers] = batch._replace(until=time.monotonic() + HANGS)
            ended = answer[0] is not None and answer[0].kind in _ENDS
            if ended or not batch.left:
                del running[answers]
                _end(answers, batch)
                if batch.left:
                    waiting.append(batch.left)
    found: list[Violation] = []
    for index, (breach, took) in sorted(results.items()):
        if breach is None and took > SLOW:
            breach = promises.Breach("slow", f"{took:.1f} s of processor time")
        if breach is not None:
            found.append(Violation(breach.kind, trials[index].label[:200], breach.seen))
    return found, max((took for _, took in results.values()), default=0.0)


_HUNG: _Answer = (promises.Breach("hangs", f"over {HANGS:.0f} s"), HANGS)
_ENDS = ("hangs", "ends the process")


def _start(trials: Sequence[_Trial], batch: deque[int]) -> tuple[Connection, _Batch]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    home = tempfile.mkdtemp(prefix="hostile-home-")
    process = context.Process(target=_serve, args=(theirs, trials, [*batch], home), daemon=True)
    process.start()
    theirs.close()
    return ours, _Batch(process, home, batch, time.monotonic() + HANGS)


def _answer(answers: Connection, batch: _Batch) -> _Answer:
    try:
        return answers.recv()
    except EOFError:
        batch.process.join()
        return promises.Breach("ends the process", f"exit code {batch.process.exitcode}"), 0.0


def _end(answers: Connection, batch: _Batch) -> None:
    batch.process.kill()
    batch.process.join()
    answers.close()
    shutil.rmtree(batch.home, ignore_errors=True)


def _serve(answers: Connection, trials: Sequence[_Trial], batch: Sequence[int], home: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ |= {"HFT_HOME": home, "HF_HOME": home, "HF_HUB_OFFLINE": "1"}
    os.chdir(home)
    with Path(os.devnull).open("r+b") as nothing:
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
    for index in batch:
        before = time.process_time()
        try:
            breach = trials[index].run()
        except Exception as error:
            breach = promises.Breach(f"the trial raised {type(error).__name__}", str(error)[:100])
        answers.send((breach, time.process_time() - before))
