"""Logs that are cut, and ends that do not come: each line once and in order, and whatever waits comes to an end."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import hfjobs_trainer as hft
from benchmarks.faults.report import Section, Violation
from benchmarks.faults.stand_in import TOKEN, import_hubsim, sample, stand_in, try_all
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import Patience
from hfjobs_trainer.running.job import Job

PROCESSES, THREADS = 4, 8
DEADLINE = 60.0
"""What takes longer counts as hanging, seconds."""
_REQUESTS = dict[str, Any](attempts=3, pause=0.02, longest_pause=0.1, answer=10, submission=20, reconnects=5)
_LOGS = dict[str, Any](refused=1.0, look=0.5, silence=4.0, quiet=0.5, settle=4.0, late=8.0)
_SHORT = _REQUESTS | _LOGS
PATIENCE = Patience(
    **{name: value for name, value in _SHORT.items() if name in {item.name for item in fields(Patience)}}
)
"""Shorter waits than the package's, as far as it has them: longer than the lags that are tried, within a minute."""
LINES_IN_ALL = 60
SECONDS = {"ended": 0.0, "ending": 1.5, "running": 4.0}
"""How long a job runs: it has ended before its log is read, ends while it is, or later."""
REPLAYED = 40
"""How many lines a Hub with a limit replays: more than are left after each cut that is tried with it."""
MODEL = "alice/trained"

Reader = Literal["follow", "read", "result", "wait"]
Runs = Literal["ended", "ending", "running"]


def _event(kind: str, **data: object) -> str:
    # of long ago: a new run's model is looked for on the Hub
    return json.dumps({"event": f"hft.{kind}", "time": 1.0, **data})


def _line(number: int) -> str:
    if number == 0:
        return _event("start", device="cuda")
    if number == LINES_IN_ALL - 2:
        return _event("pushed", repo=MODEL, url="https://huggingface.co/" + MODEL)
    if number == LINES_IN_ALL - 1:
        return _event("end", step=LINES_IN_ALL, seconds=9.0)
    if number % 10 == 0:
        return _event("log", step=number, max_steps=LINES_IN_ALL, metrics={"loss": 1 / number})
    return f"line {number}"


LINES = [_line(number) for number in range(LINES_IN_ALL)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault, and what is done meanwhile.

    Attributes:
        reader: What is done: follow or read the log, wait, or wait for the result.
        runs: Whether the job has ended before.
        cut: After how many lines streams are cut, and how; ``None`` if they are not.
        times: How many streams are cut, one after the other; or how many answers are refused.
        refusal: Status with which the stream is refused when it is opened again, or the job's page; ``None`` if not.
        of_status: Whether it is the job's page.
        limited: Whether only the last lines are replayed.
        settings: Settings of the stand-in.
    """

    reader: Reader
    runs: Runs
    cut: tuple[int, str] | None = None
    times: int = 1
    refusal: int | None = None
    of_status: bool = False
    limited: bool = False
    settings: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.reader}, job {self.runs}"]
        if self.cut is not None:
            again = f", {self.times} times" if self.refusal is None else ""
            parts.append(f"{self.cut[1]} after {self.cut[0]} lines{again}")
        if self.refusal is not None:
            parts.append(f"{self.refusal} {self.times} times to the {'status' if self.of_status else 'log'}")
        parts += ["a part replayed"] * self.limited + [f"{name}={value:g}" for name, value in self.settings]
        return "; ".join(parts)


def cells() -> list[Cell]:
    """All that is tried; what the stand-in cannot do is left out."""
    hows = ("reset", "truncate", "close", "stall")
    runs: tuple[Runs, ...] = ("ended", "ending", "running")
    readers: tuple[Reader, ...] = ("follow", "read", "result")
    cuts = [*itertools.product((0, 7, 31, 59), hows)]
    found = [Cell("follow", *each) for each in itertools.product(runs, cuts, (1, 2, 3, 4))]
    found += [Cell("read", "ended", *each) for each in itertools.product(cuts, (1, 2, 3))]
    found += [Cell("result", *each) for each in itertools.product(runs[:2], cuts, (1, 3))]
    limits = itertools.product(runs, itertools.product((31, 50), hows[:3]), (1, 2))
    found += [Cell("follow", *each, limited=True) for each in limits]
    refusals = [*itertools.product((401, 403, 404, 429, 502), (1, 2))]
    for (refusal, times), of_status, state in itertools.product(refusals, (False, True), runs):
        found.append(Cell("follow", state, (20, "reset"), times, refusal, of_status))
        found.append(Cell("result", state, (20, "reset"), times, refusal, of_status))
        if of_status:
            found.append(Cell("wait", state, None, times, refusal, of_status))
    settings = import_hubsim().state.SETTINGS
    for name, values in MISBEHAVIOURS.items():
        if name in settings:
            late = itertools.product(readers, runs, values)
            found += [
                Cell(reader, state, settings=((name, value),))
                for reader, state, value in late
                if reader != "read" or state == "ended"
            ]
    return found


MISBEHAVIOURS: dict[str, tuple[float, ...]] = {"streamsStayOpen": (1,), "logLagSecs": (0.5, 3.0)}
"""Settings of the stand-in, and values that are tried: streams left open after the end, logs that lag behind."""


def run(*, scale: float = 1.0, seed: int = 0) -> Section:
    """Try a share of the faults."""
    chosen = sample(cells(), scale, seed)
    began = time.monotonic()
    found = try_all(judge, chosen, processes=PROCESSES, threads=THREADS)
    return Section("logs and ends", len(chosen), found, (f"{time.monotonic() - began:.0f} s",))


def judge(cell: Cell) -> list[Violation]:
    """Read a log through a fault, and say which promises did not hold."""
    with stand_in() as hub:
        hub.cfg.update(cell.settings)
        hub.cfg["schedSecs"] = 0.0
        hub.cfg["keepaliveSecs"] = 1.0
        hub.script(logs=LINES, runSecs=SECONDS[cell.runs])
        spec: dict[str, Any] = {"dockerImage": "x", "command": ["x"], "flavor": "cpu-basic", "labels": {}}
        played = hub.start_job("alice", "alice", spec, hub.accounts.owner("alice"))
        if cell.runs == "ended":
            played.join(DEADLINE)
        _arrange(cell, hub, played.id)
        attempt = Attempt(cell, hub, f"alice/{played.id}")
        attempt.join(DEADLINE)
        if attempt.is_alive():
            return [Violation("hanging", str(cell), f"{len(attempt.shown)} of {LINES_IN_ALL} lines")]
        return [Violation(kind, str(cell), seen) for kind, seen in find_wrong(cell, attempt)]


def _arrange(cell: Cell, hub: Any, name: str) -> None:
    if cell.cut is not None:
        after, how = cell.cut
        times = 1 if cell.refusal is not None else cell.times
        hub.fail(path="/logs$", times=times, sse={"after": after, "how": how})
    if cell.refusal is not None:
        path = f"/{name}$" if cell.of_status else "/logs$"
        # the first look at the job is the one that finds it
        hub.fail(path=path, times=cell.times, skip=1 if cell.of_status else 0, response={"status": cell.refusal})


class Attempt(threading.Thread):
    """What is done in a cell: ``shown`` lines, a ``result``, an ``error``, and whether lines are said to be missing."""

    def __init__(self, cell: Cell, hub: Any, job_id: str) -> None:
        super().__init__(daemon=True)
        self.cell = cell
        self.hub, self.job_id = hub, job_id
        self.shown: list[str] = []
        self.is_incomplete = False
        self.result: hft.JobResult | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.act()
        except Exception as error:
            self.error = error

    def act(self) -> None:
        backend = HubBackend(TOKEN, "alice", self.hub.endpoint, PATIENCE)
        job = Job(backend.inspect(self.job_id), backend)
        if self.cell.reader == "result":
            self.result = job.result()
            self.is_incomplete = bool(getattr(self.result, "incomplete", None))
        elif self.cell.reader == "wait":
            job.wait()
        else:
            lines = job.logs(follow=self.cell.reader == "follow")
            for line in lines:
                self.shown.append(line)
                if self.cell.limited:
                    self.hub.cfg["logReplayLimit"] = REPLAYED
            self.is_incomplete = bool(getattr(lines, "incomplete", None))


def find_wrong(cell: Cell, attempt: Attempt) -> Iterator[tuple[str, str]]:
    """The promises that did not hold, and what was seen instead."""
    error = attempt.error
    if error is not None:
        kind = "raised" if isinstance(error, hft.HFTError) else "raised, and no HFTError"
        yield kind, f"{type(error).__name__}: {error}"
        return
    if cell.reader == "result":
        found = attempt.result or hft.JobResult()
        is_whole = (found.model, found.steps, bool(found.metrics)) == (MODEL, LINES_IN_ALL, True)
        if not is_whole and not attempt.is_incomplete:
            yield "silently incomplete result", repr(found)
    if cell.reader in ("follow", "read"):
        shown = Counter(attempt.shown)
        seen = f"{len(attempt.shown)} of {LINES_IN_ALL} lines"
        if set(LINES) - shown.keys():
            yield "short, as it says" if attempt.is_incomplete else "short", seen
        if max(shown.values(), default=1) > 1:
            yield "doubled", seen
        if set(LINES) == shown.keys() and attempt.shown != LINES and max(shown.values()) == 1:
            yield "out of order", seen
        if shown.keys() - set(LINES):
            yield "foreign line", str(sorted(shown.keys() - set(LINES))[0])
