"""What the generated argument classes stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, ConfigDict


class TRLArgs(BaseModel):
    """Base of every class of TRL arguments: strict, frozen, no unknown fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, protected_namespaces=(), use_attribute_docstrings=False
    )


def as_whole(value: float) -> float:
    """Return 10 for 10.0, so that a step count has one form; a ratio such as 0.1 stays."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_list(value: object) -> object:
    """Return ``["sigmoid"]`` for ``"sigmoid"``, ``[0.1]`` for ``0.1`` and for ``(0.1,)``; anything else as it is."""
    if isinstance(value, tuple):
        return list(cast("tuple[object, ...]", value))
    return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def switch(on: str, off: str) -> Callable[[object], object]:
    """Return a function that turns ``True`` into ``on`` and ``False`` into ``off``, and keeps anything else."""

    def named(value: object) -> object:
        return (on if value else off) if isinstance(value, bool) else value

    return named


Steps = Annotated[int | float, AfterValidator(as_whole)]
"""A number of steps, or, below 1, a share of all steps."""
