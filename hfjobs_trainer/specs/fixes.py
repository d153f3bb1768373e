"""Fixes as text: keyword arguments for ``spec.replace``, by which nothing else that the user set is lost.

A group is written out with all that was set in it, since ``replace`` takes groups as a whole.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast, get_args

from pydantic import BaseModel

from hfjobs_trainer.specs.base import JobSpec
from hfjobs_trainer.specs.group import Group
from hfjobs_trainer.tokens import masked


class _Remove(Enum):
    REMOVE = "remove"


_EXPONENT = re.compile(r"e([+-])0*(\d)")

REMOVE: Final = _Remove.REMOVE
"""In place of a value: the field is to be unset."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A group, as the call that makes it."""

    group: type[Group]
    fields: Mapping[str, Any]


class _Unwritable(Exception):
    """A value that has no text, or none at this place."""


def change(spec: JobSpec, values: Mapping[str, Any]) -> str:
    """Keyword arguments for ``spec.replace`` that set these fields; empty if a value cannot be written as Python.

    Args:
        spec: The spec to change.
        values: New values by dotted path, such as ``{"hardware.flavor": "l4x1", "bf16": REMOVE}``; numbers in a path
            are places in a list.
    """
    fields = {path.split(".")[0] for path in values}
    return assign(type(spec), {name: getattr(spec, name) for name in fields}, values)


def assign(spec: type[BaseModel], given: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The same for fields as they were given, of which no spec was made yet; groups may be mappings or shorthands."""
    changed: dict[str, Any] = {}
    for path, value in values.items():
        name, *rest = path.split(".")
        if rest:
            field = spec.model_fields.get(name)
            current = changed[name] if name in changed else _group(given.get(name), field and field.annotation)
            try:
                changed[name] = _put(current, rest, value)
            except _Unwritable:
                return ""
        else:
            changed[name] = None if value is REMOVE else value
    return keywords(changed)


def _group(value: Any, annotation: Any) -> Any:
    """What a group is written from, be it an object, a mapping, its shorthand or nothing yet."""
    group = group_of(annotation)
    if group is None or isinstance(value, Mapping | Group | list | tuple):
        return _written(value)
    short = group.SHORTHAND if isinstance(value, str) else None
    return _Written(group, {short: value} if short else {})


def keywords(values: Mapping[str, Any]) -> str:
    """These values as keyword arguments; empty if one of them cannot be written as Python, or holds a token."""
    try:
        text = ", ".join(f"{name}={_text(_written(value))}" for name, value in values.items())
    except _Unwritable:
        return ""
    return text if masked(text) == text else ""


def shell(*words: str) -> str:
    """A command as one line for a shell, each word quoted where it must be; ``~`` still means the home folder."""
    return " ".join(f"~/{shlex.quote(word[2:])}" if word.startswith("~/") else shlex.quote(word) for word in words)


def group_of(annotation: Any) -> type[Group] | None:
    """The group that a field of this type holds, if it holds one."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Group) else None
    return next((group for member in get_args(annotation) if (group := group_of(member))), None)


def _written(value: Any) -> Any:
    """Groups as calls, all the way down; everything else as it is."""
    if isinstance(value, Group):
        given = {name: getattr(value, name) for name in type(value).model_fields if name in value.model_fields_set}
        return _Written(type(value), {name: _written(item) for name, item in given.items()})
    if isinstance(value, list | tuple):
        return [_written(item) for item in cast("Sequence[Any]", value)]
    return value


def _put(current: Any, path: Sequence[str], value: Any) -> Any:
    name, rest = path[0], path[1:]
    if isinstance(current, list):
        items = cast("list[Any]", current)
        place = int(name) if name.isdecimal() else len(items)
        if place >= len(items):
            raise _Unwritable
        new = [_put(items[place], rest, value)] if rest else [] if value is REMOVE else [value]
        return [*items[:place], *new, *items[place + 1 :]]
    held: Any = current.fields if isinstance(current, _Written) else current or {}
    if not isinstance(held, Mapping):
        raise _Unwritable
    fields: dict[str, Any] = dict(cast("Mapping[str, Any]", held))
    if rest:
        fields[name] = _put(fields.get(name), rest, value)
    elif value is REMOVE:
        fields.pop(name, None)
    else:
        fields[name] = _written(value)
    return _Written(current.group, fields) if isinstance(current, _Written) else fields


def _text(value: Any) -> str:
    if isinstance(value, _Written):
        return _call(value)
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float):
        # 1e-5 rather than 1e-05
        return _EXPONENT.sub(r"e\1\2", repr(value)) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(_text(item) for item in cast('list[Any]', value))}]"
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return f"{{{', '.join(f'{_text(key)}: {_text(item)}' for key, item in items)}}}"
    name = getattr(value, "__name__" if isinstance(value, Callable) else "name", None)
    if isinstance(name, str) and name.isidentifier():
        # a function of the user's, by which it is known where the fix is pasted
        return name
    raise _Unwritable


def _call(written: _Written) -> str:
    fields = dict(written.fields)
    others = fields.pop("mixed_with", None)
    short = written.group.SHORTHAND
    if others:
        return _text([_Written(written.group, fields), *others])
    if short is not None and fields.keys() == {short}:
        return _text(fields[short])
    return f"hft.{written.group.__name__}({', '.join(f'{name}={_text(item)}' for name, item in fields.items())})"
