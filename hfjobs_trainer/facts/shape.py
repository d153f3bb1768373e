"""The shape of a dataset's rows, where they are not as TRL takes them: what makes them so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Conversion:
    """One change to the rows of a dataset: columns renamed, columns dropped, or rows made anew by a function.

    Attributes:
        why: What becomes what, one clause.
        renames: Columns that are renamed first, theirs to TRL's.
        drops: Columns that are gone afterwards.
        makes: Columns that the function makes.
        function: Function of ``rendering/runtime/shapes.py`` that makes them; empty where there is none.
        options: Its further arguments.
        several: Whether it makes any number of rows of one.
    """

    why: str
    renames: Mapping[str, str] = field(default_factory=dict[str, str])
    drops: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    function: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    several: bool = False

    def columns_after(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that are there afterwards, given those that were there before."""
        named = [self.renames.get(name, name) for name in columns]
        return tuple(dict.fromkeys((*(name for name in named if name not in self.drops), *self.makes)))


@dataclass(frozen=True, slots=True)
class Misfit:
    """What keeps rows of a known shape from being converted.

    Attributes:
        kind: ``"role"``: a message has a role that is not known; ``"weight"``: the method trains on every message, and
            one must not be trained on; or a weight is neither 0 nor 1.
        column: The column.
        values: What was found there, cut to a few words.
    """

    kind: Literal["role", "weight"]
    column: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows of a dataset become those that the method takes.

    Attributes:
        conversions: The changes, in order.
        misfit: What keeps them from being converted in full.
        rows_of_one: Rows that one row becomes, on average.
    """

    conversions: tuple[Conversion, ...] = ()
    misfit: Misfit | None = None
    rows_of_one: float = 1.0

    def fits(self, columns: tuple[str, ...]) -> bool:
        """Whether all columns are there that the changes take away."""
        for conversion in self.conversions:
            named = {conversion.renames.get(name, name) for name in columns}
            if not {*conversion.renames} <= set(columns) or not {*conversion.drops} <= named:
                return False
            columns = conversion.columns_after(columns)
        return True

    def columns_after(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that are there in the end, given those that were there before."""
        for conversion in self.conversions:
            columns = conversion.columns_after(columns)
        return columns
