"""What the generated argument classes stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict


class _Signature:
    """The signature of a class that is not built yet: builds it, and returns the one that pydantic then gave it."""

    def __get__(self, instance: object, owner: type[BaseModel]) -> object:
        if instance is not None or owner.__pydantic_complete__ or not owner.model_rebuild():
            raise AttributeError("__signature__")
        return owner.__signature__


class Deferred(BaseModel):
    """Base of everything that a spec is made of: strict, frozen, no unknown fields, built when it is first used."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=(), defer_build=True)

    if not TYPE_CHECKING:
        __signature__ = _Signature()


class TRLArgs(Deferred):
    """Base of every class of TRL arguments."""

    TRAINER_ARGUMENTS: ClassVar[tuple[str, ...]] = ()
    """What the method's trainer takes beside the arguments of its config, in TRL's order."""


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
