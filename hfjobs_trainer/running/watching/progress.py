"""What is known of a run while it is watched: a fold over its status, the lines of its log and what it uses."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from hfjobs_trainer.display import visible
from hfjobs_trainer.running.backends.base import JobRecord, JobStatus, Usage
from hfjobs_trainer.running.cost import usd_at
from hfjobs_trainer.running.events import Event, parse_event
from hfjobs_trainer.running.watching.figures import Curve

CURVES = ("loss", "reward", "objective/rlhf_reward")
"""The metrics that are shown as a curve, where they are reported."""
# What the trainer prints beside each of our events, on the first node: {'loss': '0.5', ..., 'epoch': '0.1'}
_METRICS = re.compile(r"(\[node \d+\] )?\{'[^']+': .*'epoch': [^{}]*\}")
LINES, ALERTS = 5, 4
"""How many of the last lines of the log, and of what went wrong, are kept."""
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


@dataclass(slots=True)
class Alert:
    """Something that went wrong.

    Attributes:
        kind: ``"warning"``, or ``"error"`` for what ends the run.
        text: What.
        count: How often it was told.
    """

    kind: str
    text: str
    count: int = 1


class Progress:
    """A job as far as it is known; another one goes on with it where it is resumed.

    Args:
        record: The job.
        usd_per_hour: Price of one of its machines; ``None`` if unknown.
        usd_before: What the jobs cost that it resumes, US dollars; ``None`` if unknown.
        before: The progress of the job that it resumes, whose curves it continues.

    Attributes:
        status: Its last known status; ``None`` before the first.
        outage: Why the status is not known now; empty if it is.
        phase: What the script is doing, by its last event.
        attempt: How often its script has started; 0 before the first time.
        step, max_steps: Optimizer steps done, and of the whole run.
        metrics: The last value of each.
        curves: Those of ``CURVES`` that were reported.
        pace: Seconds per step; ``None`` before two steps.
        tokens_per_second: ``None`` if it does not report tokens.
        peak_gib: Peak of the memory of a GPU, as the script measured it.
        kept: The last step of which a checkpoint was saved.
        alerts: What went wrong, the last ones.
        lines: The last lines of its log that say something else than its events.
        pushed: Address of the pushed model.
        saved: Folder of the model on the machine that trained it.
        usage: What each node uses, by its rank.
    """

    def __init__(
        self,
        record: JobRecord,
        usd_per_hour: float | None = None,
        usd_before: float | None = 0.0,
        before: Progress | None = None,
    ) -> None:
        self.record, self.planned = record, record.planned
        self.usd_per_hour, self.usd_before = usd_per_hour, usd_before
        self.status: JobStatus | None = None
        self.outage = self.phase = ""
        self.method = record.labels.get("method", "")
        self.attempt = 0
        self.step: int | None = None
        self.max_steps: int | None = None
        self.resumed_at: int | None = None
        self.metrics: dict[str, float | None] = {}
        self.curves: dict[str, Curve] = {} if before is None else before.curves
        self.pace: float | None = None
        self.tokens_per_second: float | None = None
        self.peak_gib: float | None = None
        self.kept: int | None = None
        self.alerts: deque[Alert] = deque(maxlen=ALERTS)
        self.lines: deque[str] = deque(maxlen=LINES)
        self.pushed: str | None = None
        self.saved: str | None = None
        self.usage: dict[int, Usage] = {}
        self._event: Event | None = None
        self._first: Event | None = None
        self._last: Event | None = None
        self._gap = 0.0  # seconds between the last two reports
        self._tokens: tuple[float, float] | None = None  # when the first were told, and how many

    @property
    def name(self) -> str:
        """Name of the run; empty if it has none."""
        return self.planned.name or self.record.labels.get("name", "")

    @property
    def model(self) -> str | None:
        """Where its model is: an address, or a folder of this machine; ``None`` if it is nowhere yet."""
        return self.pushed or (self.saved if self.record.folder else None)

    @property
    def last(self) -> Event | None:
        """Its last event."""
        return self._event

    @property
    def share(self) -> float | None:
        """How much of the steps is done, 0 to 1."""
        return None if self.step is None or not self.max_steps else min(1.0, self.step / self.max_steps)

    def seconds_left(self, now: float) -> float | None:
        """How long the steps that are left take at the pace so far, as of ``now``, seconds since the epoch.

        The script's clock may be another one, so that what passed since its last report counts as far as reports are
        apart.
        """
        if self.pace is None or self.step is None or not self.max_steps or self._last is None:
            return None
        left = (self.max_steps - self.step) * self.pace
        return max(0.0, left - min(max(0.0, now - self._last.time), self._gap))

    def usd(self, now: float) -> float | None:
        """US dollars so far, with what the jobs before it cost."""
        if self.usd_per_hour is None or self.usd_before is None or self.status is None:
            return None
        return self.usd_before + usd_at(self.usd_per_hour, self.status, now)

    def usd_at_end(self, now: float) -> float | None:
        """What it will have cost once its steps are done, US dollars; ``None`` if that is not known."""
        left = self.seconds_left(now)
        return None if left is None else self.usd(now + left)

    @property
    def cap(self) -> tuple[float, str] | None:
        """US dollars that it can cost at most, and what holds it to them."""
        planned = self.planned
        caps: list[tuple[float, str]] = []
        if planned.timeout and self.usd_per_hour is not None and self.usd_before is not None:
            most = self.usd_per_hour * self.machines * planned.timeout / 3600 * planned.attempts
            caps.append((self.usd_before + most, "timeout"))
        if planned.max_usd is not None:
            caps.append((planned.max_usd, "max_usd"))
        return min(caps, default=None)

    @property
    def machines(self) -> int:
        """How many machines it has."""
        return max(1, len(self.record.members))

    def see_status(self, status: JobStatus) -> None:
        """Take in what the backend says of it."""
        self.status, self.outage = status, ""
        if status.is_terminal:
            self.usage.clear()

    def see_usage(self, node: int, usage: Usage | None) -> None:
        """Take in what a node uses; ``None`` if that is not known any more."""
        if usage is None:
            self.usage.pop(node, None)
        else:
            self.usage[node] = usage

    def see_line(self, line: str) -> Event | None:
        """Take in a line of its log; return the event that it is, if it is one."""
        event = parse_event(line)
        if event is not None:
            self._see_event(event)
            return event
        said = plain(line)
        if said.strip() and not (self.attempt and _METRICS.fullmatch(said.strip())):
            self.lines.append(said)
        return None

    def _see_event(self, event: Event) -> None:
        data, self._event = event.data, event
        if event.kind == "start":
            self._see_start(event)
        elif event.kind == "log":
            self._see_log(event)
        elif event.kind == "resumed" and event.step is not None:
            self.resumed_at = self.step = event.step
            self.phase = f"goes on after step {event.step:,}"
        elif event.kind == "pace":
            self.peak_gib = _figure(event, "memory_gib")
            self.tokens_per_second = self.tokens_per_second or _figure(event, "tokens_per_second")
        elif event.kind in ("saved", "kept") and event.step is not None:
            self.kept = event.step
        elif event.kind in ("stopped", "failed"):
            self.phase = "ending"
        elif event.kind == "pushed" and data.get("branch") != "partial":
            self.pushed, self.phase = str(data.get("url") or "") or None, "model pushed"
        elif event.kind == "end":
            self.phase = "finished"
            self.saved = str(data.get("model") or data.get("output_dir") or "") or None
        kind, text = _bad_news(event)
        self._alert(kind, plain(text))

    def _see_start(self, event: Event) -> None:
        data = event.data
        self.attempt += 1
        self._first = self._last = self._tokens = self.pace = None
        gpu, processes = data.get("gpu"), data.get("world_size")
        machine = str(gpu or data.get("device") or "this machine")
        self.method = str(data.get("method") or self.method)
        self.phase = f"loading on {f'{processes} x ' if gpu and processes not in (None, 1) else ''}{machine}"

    def _see_log(self, event: Event) -> None:
        self.metrics |= event.metrics
        for name in CURVES:
            if name in event.metrics:
                self.curves.setdefault(name, Curve()).add(event.metrics[name])
        if event.step is None or not event.max_steps:
            return
        self.step, self.max_steps = event.step, event.max_steps
        self.phase = "training" if self.step < self.max_steps else "saving the model"
        self._gap = 0.0 if self._last is None else max(0.0, event.time - self._last.time)
        first = self._first = self._first or event
        self._last = event
        done = self.step - (first.step or 0)
        if done > 0:
            self.pace = max(0.0, event.time - first.time) / done
        if (tokens := event.metrics.get("num_tokens")) is not None:
            since, told = self._tokens = self._tokens or (event.time, tokens)
            if event.time > since and tokens > told:
                self.tokens_per_second = (tokens - told) / (event.time - since)

    def _alert(self, kind: str, text: str) -> None:
        for alert in self.alerts:
            if alert.text == text:
                alert.count += 1
                return
        if text:
            self.alerts.append(Alert(kind, text))


def _bad_news(event: Event) -> tuple[str, str]:
    """What an event tells of what went wrong, and how bad that is; empty if it is none."""
    said = event.data.get
    message = str(said("message") or "")
    if event.kind in ("warning", "stopped") or (event.kind == "pace" and message != "as planned"):
        return "warning", message
    if event.kind == "replaced":
        return "warning", f"{said('what')}: {said('used')} instead of {said('planned')}, since {said('why')}"
    if event.kind == "ruin":
        return "error", f"step {event.step}: {said('what')}: {said('meaning')}"
    if event.kind == "rescued":
        return "error", f"the model was not pushed, it is in {said('place')}; to push it: {said('command')}"
    return ("error", message) if event.kind == "failed" else ("", "")


def _figure(event: Event, name: str) -> float | None:
    """A number that an event tells; ``None`` for none, and for 0, which stands for it."""
    value = event.data.get(name)
    return float(value) if isinstance(value, (int, float)) and value else None


def plain(line: str) -> str:
    """A line of a log as a screen can show it: without colors, and nothing that moves the cursor."""
    return visible(_ESCAPES.sub("", line).expandtabs(4).rstrip())
