"""Facts about a mixture of datasets, from the facts about its parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hfjobs_trainer.facts import DatasetFacts
from hfjobs_trainer.gathering.lengths import merge


def mixed(
    parts: Sequence[DatasetFacts], fractions: Sequence[float | None], samples: Sequence[int | None] = ()
) -> DatasetFacts:
    """Facts about the whole: what one part needs, such as a token, the whole needs; its rows are those that are taken.

    Args:
        parts: Facts about each dataset, in the spec's order.
        fractions: Their shares; ``None`` for those that are taken whole.
        samples: The most rows that are taken of each; ``None`` where there is no such bound, as everywhere by default.
    """
    first, *others = parts
    if not others:
        return first
    bounds = samples or [None] * len(parts)
    rows = [_rows_made(part, _bounded(part.num_rows, bound)) for part, bound in zip(parts, bounds, strict=True)]
    # by shares where there are any, else each gives all of its own
    weights = fractions if any(share is not None for share in fractions) else rows
    return replace(
        first,
        exists=_all(part.exists for part in parts),
        private=_any(part.private for part in parts),
        gated=_any(part.gated for part in parts),
        num_rows=_count_rows(rows, fractions),
        lengths=merge([part.lengths for part in parts], weights),
        mixed_with=tuple(others),
    )


def _bounded(rows: int | None, bound: int | None) -> int | None:
    return rows if rows is None or bound is None else min(rows, bound)


def _rows_made(part: DatasetFacts, rows: int | None) -> int | None:
    return round(rows * part.shape.rows_of_one) if rows is not None and part.shape else rows


def _count_rows(rows: Sequence[int | None], fractions: Sequence[float | None]) -> int | None:
    known = [count for count in rows if count is not None]
    shares = [share for share in fractions if share is not None]
    if len(known) < len(rows):
        return None
    if not shares:
        return sum(known)
    if len(shares) < len(rows):
        return None
    # as many as these proportions allow without repeating any
    weights = [share / sum(shares) for share in shares]
    total = min(count / weight for count, weight in zip(known, weights, strict=True))
    return sum(round(weight * total) for weight in weights)


def _all(values: Iterable[bool | None]) -> bool | None:
    found = list(values)
    return False if False in found else None if None in found else True


def _any(values: Iterable[bool | None]) -> bool | None:
    found = list(values)
    return True if True in found else None if None in found else False
