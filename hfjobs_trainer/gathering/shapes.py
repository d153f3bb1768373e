"""Shapes of rows that are known, and what makes them those that TRL takes."""

from __future__ import annotations

from collections.abc import Sequence

from hfjobs_trainer.facts.shape import Shape
from hfjobs_trainer.gathering.texts import Formats
from hfjobs_trainer.gathering.values import Json


def recognize(rows: Sequence[Json], columns: tuple[str, ...], formats: Formats) -> Shape | None:
    """How rows become those that the method takes; ``None`` where they are so already, or nothing certain is known.

    Args:
        rows: Rows as the spec keeps and renames them.
        columns: Their columns, those of values that were not read included.
        formats: Sets of columns that the method takes, the usual one first.
    """
    return None


def converted(rows: Sequence[Json], shape: Shape) -> list[Json]:
    """The rows after the conversions of ``shape``."""
    return list(rows)
