"""The progress lines that a script prints, and their reader.

A running script prints one line of JSON per event on stdout, such as
``{"event": "hft.log", "time": 1767225600.0, "step": 10, "max_steps": 100, "metrics": {"loss": 0.5}}``.
They share the log with progress bars and with whatever else is printed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard, cast

_START = re.compile(r'\{\s*"event"\s*:\s*"hft\.')
# What tqdm prints, with a known total and without: "Map:  40%|####" and "12it [00:03". It writes no newline of its own,
# so an event may stand right behind or before it.
_BAR = re.compile(r"\d+%\||\d+\w* \[\d+:\d\d")
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a running script reported.

    Attributes:
        kind: ``"start"``, ``"resumed"``, ``"replaced"``, ``"mapped"``, ``"log"``, ``"pace"``, ``"evaluated"``,
            ``"saved"``, ``"kept"`` (a checkpoint outlives the machine), ``"warning"``, ``"ruin"``, ``"stopped"``,
            ``"pushed"``, ``"audited"``, ``"rescued"`` (a model that could not be pushed), ``"failed"`` (an exception
            ended it: ``what``, ``message``, ``checkpoint``, ``place``, ``try``) or ``"end"``.
        time: When, in seconds since the epoch, by the clock of the machine that runs the script.
        data: The other fields of the line.
    """

    kind: str
    time: float
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def step(self) -> int | None:
        """Optimizer steps done; ``None`` where the event has none."""
        return self._whole("step")

    @property
    def max_steps(self) -> int | None:
        """Optimizer steps that the whole run takes; ``None`` where the event does not say."""
        return self._whole("max_steps")

    @property
    def metrics(self) -> dict[str, float | None]:
        """Numbers by name; ``None`` stands for NaN and infinity."""
        found = self.data.get("metrics")
        if not isinstance(found, dict):
            return {}
        pairs = cast("dict[str, Any]", found).items()
        return {name: value for name, value in pairs if value is None or is_number(value)}

    def _whole(self, name: str) -> int | None:
        value = self.data.get(name)
        return int(value) if is_number(value) else None


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Find the events in a log; every other line is skipped."""
    for line in lines:
        for part in re.split(r"[\r\n]", line):
            event = parse_event(part)
            if event is not None:
                yield event


def parse_event(text: str) -> Event | None:
    """Read the event that a line consists of, a progress bar before or after it aside; ``None`` if there is none."""
    start = _START.search(text)
    if start is None or not _is_bar(text[: start.start()]):
        return None
    try:
        fields, end = _DECODER.raw_decode(text, start.start())
    except (ValueError, RecursionError):
        return None
    if not _is_bar(text[end:]) or not isinstance(fields, dict):
        return None
    data = cast("dict[str, Any]", fields)
    kind, time = data.pop("event"), data.pop("time", None)
    if not isinstance(kind, str) or not is_number(time):
        return None
    return Event(kind.removeprefix("hft."), float(time), data)


def visible_lines(line: str) -> list[str]:
    r"""What a terminal shows of a line in which ``\r`` overwrites, plus the events among the overwritten text."""
    parts = [part for part in line.split("\r") if part.strip()]
    if not parts:
        return [""]
    return [part for part in parts[:-1] if parse_event(part)] + parts[-1:]


def _is_bar(text: str) -> bool:
    return not text.strip() or _BAR.search(text) is not None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether this is a number that a float can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
