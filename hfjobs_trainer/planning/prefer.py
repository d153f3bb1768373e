"""Which of the machines on which a run fits it gets, and how the others compare with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.problems import Reason

if TYPE_CHECKING:
    from hfjobs_trainer.planning.estimate import Estimate
    from hfjobs_trainer.specs.groups import Prefer

NEAR_SHARE = 0.20
"""Share by which a run may cost more than on the cheapest machine, if it is faster. The speeds of published runs are
missed by 6% in the median, and by 33% in the worst tenth, if their source is held out (``python -m benchmarks.duration
CSV --held-out``), and what a run costs besides training is known less well: a smaller difference in dollars tells
nothing."""

NEAR_USD = 0.25
"""US dollars that it may cost more in any case: of a short run 20% are cents, and a person who waits costs more."""

CLEAR = 0.10
"""Share by which another machine must be both cheaper and faster than a named one to be worth a word."""

NOTED_SPEED = 1.25
"""How many times faster another machine must be to be worth a word."""

CLOSE = 0.05
"""Share of a GPU's memory beyond the margin below which a machine with more of it is worth a word."""

MOST = 3
"""Most alternatives that are told."""

AlternativeKind = Literal["cheaper", "faster", "better", "roomier", "fits"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another machine that is worth a thought.

    Attributes:
        kind: What speaks for it: ``"cheaper"``, ``"faster"``, ``"better"`` (cheaper and faster than the one that was
            named), ``"roomier"`` (more memory to spare) or ``"fits"`` (the one that was named does not).
        estimate: What the run needs and costs there.
        speedup: How many times faster the run is there: below 1 if it is slower.
        extra_usd: What it costs more there, expected US dollars; negative if it costs less.
        text: All of it in words: ``"h200x2: 3x faster for $2.20 more"``.
    """

    kind: AlternativeKind
    estimate: Estimate
    speedup: float
    extra_usd: float
    text: str

    @property
    def flavor(self) -> str:
        """Name of the flavor."""
        return self.estimate.machine.name

    def __str__(self) -> str:
        return self.text


def preferred(possible: Sequence[Estimate], prefer: Prefer, *, trials: int = 1) -> Estimate:
    """The machine that a run gets, of those on which it fits within the caps; of equals the cheaper.

    ``"balanced"``: the fastest of those that are expected to cost at most 20% or 0.25 US dollars, whichever is more,
    above the cheapest. ``"cheapest"``: the cheapest, of equals the faster. ``"fastest"``: the fastest. If nobody knows
    how long the run takes, the cheapest per hour.

    Args:
        possible: The machines; at least one.
        prefer: What counts, as in ``hft.Hardware``.
        trials: Runs of the sweep to which this one belongs: they share the 0.25 US dollars.
    """
    known = [each for each in possible if each.duration is not None]
    if prefer == "cheapest" or not known:
        return min(possible, key=_cost)
    least = min(map(_usd, known))
    most = math.inf if prefer == "fastest" else max(least * (1 + NEAR_SHARE), least + NEAR_USD / trials)
    return min((each for each in known if _usd(each) <= most + 1e-9), key=_time)


def why_chosen(best: Estimate, possible: Sequence[Estimate], prefer: Prefer) -> str:
    """Why a machine was chosen, of those on which the run fits."""
    least = min(possible, key=_cost)
    if best.duration is None or least.duration is None:
        return "the cheapest that fits"
    if prefer == "fastest":
        return "where the run is fastest"
    if _cents(best, least) == 0:
        return "where the run costs least"
    return f"{versus(best, least)} than {least.machine.name}, where it costs least"


def why_not(estimate: Estimate, best: Estimate) -> Reason:
    """The reason why a machine on which the run fits was not chosen."""
    name = best.machine.name
    if estimate.duration is not None and best.duration is not None:
        slower, dearer = _seconds(estimate) >= _seconds(best), _cents(estimate, best) > 0
        but = "but " if slower and dearer else ""
        return Reason("dearer" if dearer else "slower", f"fits, {but}{versus(estimate, best)} than {name}")
    price, lowest = (each.flavor.usd_per_hour if each.flavor else 0.0 for each in (estimate, best))
    if price > lowest:
        return Reason("dearer", f"fits, but costs ${price:.2f}/h; {name} costs ${lowest:.2f}/h")
    if estimate.duration is None and best.duration is not None:
        return Reason("slower", "fits, but how long the run takes there is unknown")
    return Reason("dearer", f"fits at the same price, with less GPU memory than {name}")


def versus(estimate: Estimate, best: Estimate) -> str:
    """How a machine compares with another: ``"3x faster for $2.20 more"``; both durations are known."""
    ratio, usd = _seconds(best) / _seconds(estimate), _cents(estimate, best) / 100
    how = "faster" if ratio > 1 else "slower"
    times = max(ratio, 1 / ratio)
    speed = f"{_times(times)} {how}" if times >= 1.05 else f"a little {how}" if ratio != 1 else "as fast"
    if not usd:
        return f"{speed} at the same cost"
    # what is won and what it takes, or both won or both lost
    joined = "for" if (ratio > 1) is (usd > 0) and ratio != 1 else "and"
    return f"{speed} {joined} ${abs(usd):,.2f} {'more' if usd > 0 else 'less'}"


def alternatives(best: Estimate, possible: Sequence[Estimate], *, named: bool = False) -> tuple[Alternative, ...]:
    """The two or three other machines that matter, the cheapest first.

    Of a chosen machine: the cheapest, where another was taken; the one that saves time for the least money; the
    fastest; and one with more memory to spare, where little is left. Of a named one only those that are clearly
    cheaper and faster, or that the run fits on, if it does not fit there.

    Args:
        best: The machine that the run gets.
        possible: Machines on which the run fits within the caps.
        named: Whether the user named it.
    """
    others = [each for each in possible if each.duration is not None and each.machine.name != best.machine.name]
    if not others:
        return ()
    if best.duration is None:
        return () if best.fits else (_fitting(others),)
    if named and not best.fits and best.verdict != "tight":
        return (_fitting(others),)
    found: dict[str, Alternative] = {}

    def add(kind: AlternativeKind, estimate: Estimate | None) -> None:
        if estimate is not None and len(found) < MOST:
            found.setdefault(estimate.machine.name, _told(kind, estimate, best))

    if _is_close(best):
        add("roomier", _roomier(best, others))
    if named:
        better = [each for each in others if _is_better(each, best)]
        if better:
            add("better", preferred(better, "balanced"))
            add("better", min(better, key=_cost))
    else:
        least = min(others, key=_cost)
        add("cheaper", least if _cents(least, best) < 0 else None)
        near = preferred([best, *others], "balanced")
        add("faster", near if near is not best and _speedup(near, best) >= NOTED_SPEED else None)
        faster = [each for each in others if _speedup(each, best) >= NOTED_SPEED]
        if faster:
            step = min(faster, key=lambda each: (_usd(each) - _usd(best)) / (_seconds(best) - _seconds(each)))
            add("faster", step)
            fastest = min(faster, key=_time)
            add("faster", fastest if _speedup(fastest, step) >= NOTED_SPEED else None)
    return tuple(sorted(found.values(), key=lambda each: each.extra_usd))


def _told(kind: AlternativeKind, estimate: Estimate, best: Estimate) -> Alternative:
    spare = ""
    if kind == "roomier":
        spare = f"{(estimate.headroom_gib or 0.0) - (best.headroom_gib or 0.0):.0f} GiB more to spare, "
    sequences = [each.layout.sequences(each.machine.nodes) for each in (estimate, best) if each.layout]
    step = f", {sequences[0]} sequences per step instead of {sequences[1]}" if len(set(sequences)) > 1 else ""
    text = f"{estimate.machine.name}: {spare}{versus(estimate, best)}{step}"
    return Alternative(kind, estimate, _speedup(estimate, best), _usd(estimate) - _usd(best), text)


def _fitting(others: Sequence[Estimate]) -> Alternative:
    found = preferred(others, "balanced")
    if found.duration is None:
        raise ValueError("the duration is unknown")
    takes = f"about {found.duration.seconds.as_duration()}, {found.duration.usd.as_usd()}"
    return Alternative("fits", found, math.nan, math.nan, f"{found.machine.name}: the run fits there, {takes}")


def _is_better(estimate: Estimate, best: Estimate) -> bool:
    """Whether a machine is clearly cheaper and faster."""
    most = 1 - CLEAR
    return _seconds(estimate) <= most * _seconds(best) and _usd(estimate) <= most * _usd(best)


def _is_close(best: Estimate) -> bool:
    """Whether little memory is left beyond the margin."""
    if best.memory is None or best.headroom_gib is None or best.usable_gib is None:
        return False
    return best.headroom_gib - best.memory.margin_gib < CLOSE * best.usable_gib


def _roomier(best: Estimate, others: Sequence[Estimate]) -> Estimate | None:
    """The cheapest with as much memory to spare once more."""
    least = 2 * max(best.headroom_gib or 0.0, best.memory.margin_gib if best.memory else 0.0)
    return min((each for each in others if (each.headroom_gib or 0.0) >= least), key=_cost, default=None)


def _speedup(estimate: Estimate, best: Estimate) -> float:
    return _seconds(best) / _seconds(estimate)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x".replace(".0x", "x")


def _usd(estimate: Estimate) -> float:
    return estimate.duration.usd.expected if estimate.duration is not None else math.inf


def _seconds(estimate: Estimate) -> float:
    return max(1.0, estimate.duration.seconds.expected) if estimate.duration is not None else math.inf


def _cents(estimate: Estimate, best: Estimate) -> int:
    """What a machine costs more than another, in cents as they are printed."""
    return round(100 * _usd(estimate)) - round(100 * _usd(best))


def _cost(estimate: Estimate) -> tuple[bool, float, float]:
    return estimate.cost


def _time(estimate: Estimate) -> tuple[float, float]:
    return _seconds(estimate), _usd(estimate)
