"""Durations as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NAMES = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def parse_duration(value: int | float | str | timedelta) -> int:
    """Seconds of a duration, rounded up.

    Takes a number of seconds, a ``timedelta``, or text such as ``"90m"``, ``"1h30m"``, ``"1.5 hours"``, ``"2:30:00"``
    (hours, minutes, seconds) or ``"5400"``.

    Raises:
        ValueError: The text is not a duration, or the duration is not positive.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a duration")
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        seconds = float(_parse_text(seconds) if isinstance(seconds, str) else seconds)
    except OverflowError:
        raise ValueError("a duration must fit into a float") from None
    if not 0 < seconds < float("inf"):
        raise ValueError("a duration must be longer than 0 seconds")
    return -int(-seconds // 1)


def format_duration(seconds: int) -> str:
    """The shortest text that ``parse_duration`` reads as this: 5400 is ``"1h30m"``."""
    parts: list[str] = []
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _parse_text(text: str) -> float:
    compact = text.strip().lower()
    try:
        return float(compact)
    except ValueError:
        pass
    if re.fullmatch(r"\d+:\d{2}(:\d{2})?", compact):
        hours, minutes, *rest = (int(part) for part in compact.split(":"))
        return hours * 3600 + minutes * 60 + (rest[0] if rest else 0)
    parts = _PART.findall(compact)
    spelled = re.sub(r"[\s,]|\band\b", "", compact)
    if (
        not parts
        or "".join(number + name for number, name in parts) != spelled
        or any(n not in _NAMES for _, n in parts)
    ):
        raise ValueError(f'{text!r} is not a duration; write "90m", "1h30m", "5400" (seconds) or a timedelta')
    return sum(float(number) * _UNITS[_NAMES[name]] for number, name in parts)
