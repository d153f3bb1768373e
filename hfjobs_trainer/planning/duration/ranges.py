"""A number with a lower bound, an expected value and an upper bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate with its bounds; the unit is that of the field.

    Attributes:
        low: The lower bound, unlikely to be undercut.
        expected: The best guess.
        high: The upper bound, unlikely to be exceeded.
    """

    low: float
    expected: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Range:
        """A number that is known."""
        return cls(value, value, value)

    def __add__(self, other: Range | float) -> Range:
        if isinstance(other, Range):
            return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)
        return Range(self.low + other, self.expected + other, self.high + other)

    __radd__ = __add__

    def __mul__(self, other: Range | float) -> Range:
        """The product; bound by bound, so both factors must not be negative."""
        if isinstance(other, Range):
            return Range(self.low * other.low, self.expected * other.expected, self.high * other.high)
        return Range(self.low * other, self.expected * other, self.high * other)

    __rmul__ = __mul__

    @property
    def bounds(self) -> tuple[float, float, float]:
        """Low, expected and high."""
        return self.low, self.expected, self.high

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.expected:,.0f}"
        return f"{self.expected:,.0f} ({self.low:,.0f} to {self.high:,.0f})"

    def as_duration(self) -> str:
        """A range of seconds as text: ``"2 h 10 min (1 h 25 min to 3 h 40 min)"``."""
        said, low, high = (format_seconds(value) for value in (self.expected, self.low, self.high))
        return said if low == high else f"{said} ({low} to {high})"

    def as_usd(self) -> str:
        """A range of dollars as text: ``"$5.42 ($3.55 to $9.17)"``."""
        if f"{self.low:.2f}" == f"{self.high:.2f}":
            return f"${self.expected:,.2f}"
        return f"${self.expected:,.2f} (${self.low:,.2f} to ${self.high:,.2f})"


def format_seconds(seconds: float) -> str:
    """A duration in its two largest units, rounded: ``"45 s"``, ``"12 min"``, ``"2 h 10 min"``, ``"3 d 4 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, left = divmod(minutes, 60)
        return f"{hours} h {left} min" if left else f"{hours} h"
    days, left = divmod(round(minutes / 60), 24)
    return f"{days} d {left} h" if left else f"{days} d"
