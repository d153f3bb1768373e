"""A watched run as plain lines, for pipes and logs: one for each thing that happens, and no more."""

from __future__ import annotations

import sys
import time

from hfjobs_trainer.display import visible
from hfjobs_trainer.running.watching.figures import dollars, duration, number, rough, span
from hfjobs_trainer.running.watching.progress import CURVES, Alert, Progress
from hfjobs_trainer.running.watching.view import shown_metrics

SHARE = 0.01
"""How much of a run lies between two lines about its steps at least ..."""
LONG, SHORT = 300.0, 10.0
"""... unless it takes this long, seconds of the script's clock; and so long lies between two lines in any case."""
QUIET = ("training", "ending", "finished")
"""Phases of which other lines speak."""
SILENCE = 60.0
"""After how many seconds without a line another one says that the run goes on."""


class PlainLog:
    """Writes a run's lines to stdout, as what it is told changes."""

    def __init__(self) -> None:
        self._stage = self._phase = self._outage = ""
        self._alert: Alert | None = None
        self._told_step: tuple[int, float] | None = None
        self._spoke = time.monotonic()
        self._has_begun = False

    def see(self, progress: Progress, now: float) -> None:
        """Write what is new."""
        status = progress.status
        if not self._has_begun:
            self._has_begun = True
            what = " on ".join(filter(None, [progress.name or progress.method, progress.record.flavor or ""]))
            self._write(f"job {progress.record.id}" + (f": {what}" if what else ""))
            if progress.record.url:
                self._write(progress.record.url)
        if status is not None and status.stage != self._stage:
            self._stage = status.stage
            if not status.is_terminal:  # of the end, there is a line of its own
                self._tell(status.stage + (f": {status.message}" if status.message else ""), now)
        if progress.outage != self._outage:
            self._outage = progress.outage
            if self._outage:
                self._tell(self._outage, now)
        last = progress.last
        then = now if last is None else last.time
        if progress.alerts and progress.alerts[-1] is not self._alert:
            self._alert = progress.alerts[-1]
            self._tell(f"{self._alert.kind}: {self._alert.text}", then)
        if last is not None and last.kind == "log" and self._is_due(progress, last.time):
            self._tell(_step_line(progress, last.time), last.time)
        if progress.phase != self._phase:
            self._phase = progress.phase
            if self._phase not in QUIET:
                attempt = f" (attempt {progress.attempt})" if progress.attempt > 1 else ""
                self._tell(self._phase + attempt, then)

    def draw(self, progress: Progress, now: float) -> None:
        """Say after a long silence that it goes on."""
        status = progress.status
        if time.monotonic() - self._spoke < SILENCE or status is None:
            return
        began = status.started_at or status.created_at
        took = "" if began is None else f" for {duration(now - began.timestamp())}"
        step = f", step {progress.step}/{progress.max_steps}" if progress.max_steps else ""
        last = f": {progress.lines[-1]}" if progress.lines else ""
        self._tell(f"{status.stage}{took}{step}{_so_far(progress, now)}{last}", now)

    def close(self, progress: Progress, now: float, parting: str) -> None:
        """Write the last line."""
        self.see(progress, now)
        for line in parting.split("\n") if parting else ():
            self._write(line)

    def _is_due(self, progress: Progress, then: float) -> bool:
        step, most = progress.step, progress.max_steps
        if step is None or not most or (self._told_step is not None and step <= self._told_step[0]):
            return False
        if self._told_step is not None and step < most:
            gone, steps = then - self._told_step[1], step - self._told_step[0]
            if gone < SHORT or (gone < LONG and steps < SHARE * most):
                return False
        self._told_step = step, then
        return True

    def _tell(self, text: str, at: float) -> None:
        self._write(f"{time.strftime('%H:%M:%S', time.localtime(at))} {text}")

    def _write(self, text: str) -> None:
        self._spoke = time.monotonic()
        encoding = sys.stdout.encoding or "utf-8"
        print(visible(text).encode(encoding, "replace").decode(encoding), flush=True)


def _step_line(progress: Progress, now: float) -> str:
    told = [f"step {progress.step}/{progress.max_steps}"]
    known = {name: progress.metrics[name] for name in CURVES if name in progress.metrics} | shown_metrics(progress)
    told += [f"{name} {number(value)}" for name, value in known.items()][:6]
    left = progress.seconds_left(now)
    if left:
        planned = progress.planned
        told.append(f"eta {rough(left)}")
        if planned.low is not None and planned.high is not None:
            told[-1] += f" (planned {span(planned.low, planned.high)})"
    return ", ".join(told) + _so_far(progress, now)


def _so_far(progress: Progress, now: float) -> str:
    usd = progress.usd(now)
    return f", {dollars(usd)} so far" if usd and progress.usd_per_hour else ""
