"""Numbers, durations and curves as a panel and a log show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hfjobs_trainer.display import visible


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters that stand for something.

    Attributes:
        done, left: Of a bar, what is done and what is not.
        heights: Of a curve, the lowest first.
        to, dot, cut, stage, times: An arrow, what separates, what was left out, what a stage begins with, a count.
    """

    done: str
    left: str
    heights: str
    to: str
    dot: str
    cut: str
    stage: str
    times: str


UNICODE = Marks("━", "─", "▁▂▃▄▅▆▇█", "→", "·", "…", "●", "×")
ASCII = Marks("=", "-", "_.-~=+*#", "->", "|", "...", "*", "x")


def fitting(text: str, marks: Marks) -> str:
    """The text as a screen with these characters can show it, without what moves the cursor."""
    shown = visible(text)
    return shown if marks is UNICODE else shown.encode("ascii", "replace").decode("ascii")


POINTS = 256
"""How many points of a curve are kept at most: more than any screen is wide."""


class Curve:
    """A metric over the steps, of any length, in bounded space: neighbours are averaged."""

    def __init__(self) -> None:
        self.points: list[float] = []
        self.last: float | None = None
        self._every, self._sum, self._count = 1, 0.0, 0

    def add(self, value: float | None) -> None:
        """A value; ``None`` for one that is not finite, which is shown as the last one alone."""
        self.last = value
        if value is None:
            return
        self._sum, self._count = self._sum + value, self._count + 1
        if self._count < self._every:
            return
        self.points.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self.points) == POINTS:
            self.points = [(a + b) / 2 for a, b in zip(self.points[::2], self.points[1::2], strict=True)]
            self._every *= 2


def sparkline(values: Sequence[float], width: int, heights: str) -> str:
    """A curve as characters, ``width`` of them at most; the lowest value has the lowest character."""
    if not values:
        return ""
    count, cells = len(values), min(width, len(values))
    edges = [count * cell // cells for cell in range(cells + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if high == low:  # as of a single point
        return heights[len(heights) // 2] * cells
    return "".join(heights[round((mean - low) / (high - low) * (len(heights) - 1))] for mean in means)


def bar(share: float, width: int, marks: Marks) -> tuple[str, str]:
    """What is done and what is left of a bar."""
    done = min(width, int(share * width))
    return marks.done * done, marks.left * (width - done)


def duration(seconds: float) -> str:
    """Seconds in a readable form: ``"45s"``, ``"3m 20s"``, ``"2h 05m"``, ``"3d 04h"``."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24:02d}h"
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def rough(seconds: float) -> str:
    """Seconds that are an estimate: ``"45s"``, ``"17m"``, ``"2h 05m"``."""
    return duration(seconds) if seconds < 90 or seconds >= 3570 else f"{round(seconds / 60)}m"


def span(low: float, high: float) -> str:
    """A range of estimated seconds: ``"14-18m"``, ``"50s to 2m"``, ``"17m"``."""
    first, last = rough(low), rough(high)
    if first == last:
        return first
    if first[-1] == last[-1] and first[:-1].isdecimal() and last[:-1].isdecimal():
        return f"{first[:-1]}-{last}"
    return f"{first} to {last}"


def number(value: float | None) -> str:
    """A metric: ``"0.4321"``, ``"12,345"``, ``"5e-07"``; NaN and infinity, which are ``None``, as ``"not finite"``."""
    if value is None:
        return "not finite"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def dollars(usd: float) -> str:
    """US dollars, with cents."""
    return f"${usd:,.2f}"


def gib(size: float) -> str:
    """GiB, with one decimal where that says something."""
    return f"{size:,.0f}" if size >= 99.95 or size == int(size) else f"{size:.1f}"


def short_id(job_id: str) -> str:
    """What tells a job from others at a glance: the last characters of its id, of a run on this machine its mark."""
    last = job_id.rpartition("/")[2].rpartition("-")[2]
    return last[-8:] or job_id
