"""The split of a dataset as ``datasets`` reads it: ``"train"``, ``"train[:10%]"``, ``"train+test[100:]"``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
_PART = re.compile(
    r"(?P<name>\w+(?:\.\w+)*)(?:\[(?:(?P<start>-?[\d_]+)(?P<start_pct>%)?)?:(?:(?P<stop>-?[\d_]+)(?P<stop_pct>%)?)?\])?"
    r"(?:\(\w+\))?"
)


def split_names(text: str) -> tuple[str, ...]:
    """Names of the splits from which ``text`` takes rows, each once; empty if it is not such text."""
    parts = _parse(text)
    return tuple(dict.fromkeys(part["name"] for part in parts)) if parts else ()


def is_from_start(text: str) -> bool:
    """Whether ``text`` takes the rows of one split from its first on."""
    parts = _parse(text) or ()
    return len(parts) == 1 and parts[0]["start"] in (None, "0")


def count_rows(text: str, rows: Mapping[str, int | None]) -> int | None:
    """Rows that ``text`` selects from splits of ``rows`` rows; ``None`` where a split's size is unknown.

    Percentages are rounded to the closest row, as ``datasets`` does unless told otherwise.
    """
    total = 0
    for part in _parse(text) or ():
        size = rows.get(part["name"])
        if size is None:
            return None
        total += len(range(size)[_bound(part, "start", size) : _bound(part, "stop", size)])
    return total if _parse(text) else None


def select(text: str, rows: Mapping[str, Sequence[T]]) -> list[T]:
    """The rows that ``text`` selects from whole splits, in its order."""
    found: list[T] = []
    for part in _parse(text) or ():
        whole = rows.get(part["name"], ())
        found += whole[_bound(part, "start", len(whole)) : _bound(part, "stop", len(whole))]
    return found


def _parse(text: str) -> list[re.Match[str]] | None:
    parts = [_PART.fullmatch(part) for part in text.split("+")]
    return [part for part in parts if part] if all(parts) else None


def _bound(part: re.Match[str], end: str, size: int) -> int | None:
    if part[end] is None:
        return None
    # A unit on one end holds for both.
    percent = part["start_pct"] or part["stop_pct"]
    return round(int(part[end]) * size / 100) if percent else int(part[end])
