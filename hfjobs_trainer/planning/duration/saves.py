"""How often a run saves: the time that saving takes, against the work that is lost when a machine fails."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hfjobs_trainer.planning.duration.ranges import Range, format_seconds

# Seconds between two failures of a machine: assumed, since none are published.
FAILS = 24 * 3600.0
# Most of the time that may go into saving, the shortest and the longest time between two saves in seconds, and the
# share of the time between two that may pass until the copy of a checkpoint is out of the machine: chosen. At each save
# TRL pushes the model too, a commit each.
MOST_SAVING = 0.05
SHORTEST, LONGEST = 300.0, 1800.0
COPYING = 0.5
# A run whose upper estimate is below this gets a timeout of 15 minutes, and chooses nothing.
SHORT = 720.0


@dataclass(frozen=True, slots=True)
class Saves:
    """When a run saves, what that costs, and what is at risk between two.

    Attributes:
        every: Optimizer steps between two.
        seconds: Seconds of one, for which training waits.
        copying: Seconds until a copy of it is out of the machine, during which training goes on.
        between: Seconds of work from one to the next.
        usd: Dollars of work that are lost if a machine fails just before the next one is copied.
        chosen: Whether the planner chose it.
    """

    every: int
    seconds: Range
    copying: Range
    between: Range
    usd: Range
    chosen: bool = False

    def at_multiples_of(self, multiple: int) -> Saves:
        """Those at multiples of so many steps: what lies between the others can be gone on from as little as they."""
        times = math.lcm(self.every, multiple) // self.every
        if times == 1:
            return self
        lost = self.seconds + self.copying
        between = self.between * times
        usd = self.usd * ((between + lost).expected / (self.between + lost).expected)
        return replace(self, every=self.every * times, between=between, usd=usd)

    @property
    def cost(self) -> str:
        """How far two are apart, and what one costs, as text."""
        save = self.seconds.expected
        each = f"{save:.1f} s" if save < 10 else format_seconds(save)
        return f"{format_seconds(self.between.expected)} apart, {each} each"

    @property
    def risk(self) -> str:
        """What is at risk between two as text: dollars, or time where that costs nothing."""
        lost = self.between + self.seconds + self.copying
        most = f"${self.usd.high:,.2f}" if self.usd.high else format_seconds(lost.high)
        return f"at most {most} of work at risk"


def choose_every(steps: int, work: float, save: float, copy: float, multiple: int) -> int:
    """Optimizer steps between two saves for which saving and the work that is expected to be lost cost least.

    That is where the time between two is the square root of twice the cost of a save times the time between two
    failures (J. W. Young, "A first order approximation to the optimum checkpoint interval", 1974); within the bounds
    that the constants are, of which the cost of saving comes before the time between two. There are at least two saves,
    the one at the end included.

    Args:
        steps: Optimizer steps of the run.
        work: Seconds that they take.
        save: Seconds of one save.
        copy: Seconds until its copy is out of the machine.
        multiple: The result is a multiple of this.
    """
    least = max(SHORTEST, save / MOST_SAVING, copy / COPYING)
    seconds = max(min(math.sqrt(2 * save * FAILS), LONGEST), least)
    found = math.ceil(steps / max(2, math.ceil(work / seconds)))
    # upwards, so that the last one is at the end; two digits are as exact as the estimate
    return _up(_up(found, 10 ** max(0, len(str(found)) - 2)), multiple)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
