"""Values out of JSON that others wrote, taken for what they are meant to be only if they are that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

Json = Mapping[str, object]


def as_json(value: object) -> Json:
    """``value`` as a JSON object; an empty one if it is none."""
    return cast(Json, value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[object]:
    """``value`` as a JSON array; an empty one if it is none."""
    return cast("list[object]", value) if isinstance(value, list) else []


def as_int(value: object) -> int | None:
    """``value`` if it is a whole number, else ``None``."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_text(value: object) -> str | None:
    """``value`` if it is a text that is not empty, else ``None``."""
    return value if isinstance(value, str) and value else None
