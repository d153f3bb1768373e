"""Which values a spec can carry: those that JSON, TOML and Python source all have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, cast

from pydantic import BaseModel

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.given import DEEPEST, Opaque, is_honest, kind_of

_LARGEST = 2**63 - 1
_NO_JSON = "must be text, a number, true, false, none, or lists and dicts of these, not {kind}"


def unwritable(value: Any, path: str, depth: int = 0) -> Iterator[Problem]:
    """A problem for each value, however deep inside, that could not be written into a script and read back the same."""
    if depth > DEEPEST:
        yield Problem("SPEC003", path, f"is nested deeper than {DEEPEST} levels")
    elif not is_honest(value):
        yield Problem("SPEC003", path, _NO_JSON.format(kind=kind_of(value)))
    elif isinstance(value, BaseModel):
        for name in value.model_fields_set:
            yield from unwritable(getattr(value, name), f"{path}.{name}", depth + 1)
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            if not isinstance(key, str):
                yield Problem("SPEC003", f"{path}.{key!r:.40}", "keys must be text, since a spec is stored as JSON")
            elif not _is_text(key):
                yield Problem("SPEC003", path, "has a key with a lone surrogate, which UTF-8 cannot encode")
            else:
                yield from unwritable(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from unwritable(item, f"{path}.{index}", depth + 1)
    elif isinstance(value, str):
        if not _is_text(value):
            yield Problem("SPEC003", path, "contains a lone surrogate, which UTF-8 cannot encode")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Problem("SPEC003", path, f"must be a finite number, not {value}")
    elif isinstance(value, int):
        if abs(value) > _LARGEST:
            yield Problem("SPEC003", path, "must be an integer of at most 64 bits")
    elif value is not None:
        yield Problem("SPEC003", path, _NO_JSON.format(kind=kind_of(value)))


def plain(value: Any) -> Any:
    """A value as YAML would hold it: members of enumerations by value, dtypes by name, sets and configs by content."""
    if isinstance(value, Opaque):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in cast("Iterable[Any]", value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Iterable[Any]", value)]
    if type(value).__name__ == "dtype":  # torch's
        return str(value).removeprefix("torch.")
    if any(base.__name__ == "QuantizationConfigMixin" for base in type(value).__mro__):  # a dataclass by name only
        return plain(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        defaults = {field.name: field.default for field in dataclasses.fields(value)}
        items = {name: getattr(value, name) for name in defaults}
        return {name: plain(item) for name, item in items.items() if item != defaults[name]}
    return value


def _is_text(value: str) -> bool:
    return not any(0xD800 <= ord(char) < 0xE000 for char in value)
