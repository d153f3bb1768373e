"""What the groups of a spec have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.specs.args_base import Deferred
from hfjobs_trainer.specs.given import take_fields


class Group(Deferred):
    """Base of the groups."""

    model_config = ConfigDict(hide_input_in_errors=True)

    SHORTHAND: ClassVar[str | None] = None
    """Field that a plain string stands for."""
    ALIASES: ClassVar[dict[str, str]] = {}
    """Other names of fields."""

    def __init__(self, **fields: Any) -> None:
        taken, problems = take_fields(fields)
        try:
            type(self).__pydantic_validator__.validate_python(taken, self_instance=self)
        except ValidationError as error:
            from hfjobs_trainer.specs.explain import explain_group

            left_out = {problem.path for problem in problems}
            problems += [item for item in explain_group(error, taken, type(self)) if item.path not in left_out]
        if problems:
            raise SpecError(problems, type(self).__name__)

    # inside a spec, pydantic then validates a group as one of its own, and errors keep their paths
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, fields: Any) -> Any:
        if not cls.ALIASES or not isinstance(fields, Mapping):
            return fields
        given = dict(cast("Mapping[str, Any]", fields))
        for alias in [name for name in given if name in cls.ALIASES]:
            value, name = given.pop(alias), cls.ALIASES[alias]
            if given.setdefault(name, value) != value:
                raise PydanticCustomError(
                    "given_twice",
                    "{alias} and {name} are the same setting, given with different values",
                    {"alias": alias, "name": name},
                )
        return given
