"""Text as the type of its field: what YAML, a command line or an environment says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from pydantic import TypeAdapter, ValidationError

from hfjobs_trainer.specs import trl_cli
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.group import Group
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.script import Script


def convert_all(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert text to the type of its field, unless that is text itself."""
    spec = class_of(raw.get("method"))
    if spec is None:
        return dict(raw)
    return {
        key: convert(spec.model_fields[key].annotation, value) if key in spec.model_fields else value
        for key, value in raw.items()
    }


def class_of(method: object) -> type[TrainSpec | Script] | None:
    """The spec class of a method's name; ``None`` if it has none."""
    if method == "script":
        return Script
    return METHODS[method] if isinstance(method, str) and method in METHODS else None


def convert(annotation: Any, value: Any) -> Any:
    """A value as the type of a field, where it is text that has this type; anything else as it is."""
    if value is False and "no" in get_args(annotation):
        return "no"  # which YAML reads as false
    value = trl_cli.parse_json(value) if _takes(annotation, dict, list) else value
    if isinstance(value, Mapping):
        group = group_of(annotation)
        if group is None:
            return cast("Any", value)
        fields = group.model_fields
        items = cast("Mapping[str, Any]", value).items()
        converted_items: dict[str, Any] = {}
        for key, item in items:
            field = fields.get(group.ALIASES.get(key, key))
            converted_items[key] = convert(field.annotation, item) if field else item
        return converted_items
    if annotation is None or not isinstance(value, str | list):
        return value
    given = cast("Any", value)
    candidates = [given, [given]] if isinstance(value, str) and _takes(annotation, list) else [given]
    if value in ("none", "None", "null") and _takes(annotation, type(None)):
        candidates.append(None)
    adapter = TypeAdapter[Any](annotation)
    for strict in (True, False):
        for candidate in candidates:
            try:
                converted: Any = adapter.validate_python(candidate, strict=strict)
            except ValidationError:
                continue
            return cast("Any", converted) if isinstance(converted, bool | int | float | list | None) else given
    return given


def _takes(annotation: Any, *types: type) -> bool:
    members = (annotation, *getattr(annotation, "__args__", ()))
    return any(getattr(member, "__origin__", member) in types for member in members)


def group_of(annotation: Any) -> type[Group] | None:
    """The group among the types of a field; ``None`` if there is none."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Group) else None
    return next((group for member in get_args(annotation) if (group := group_of(member))), None)
