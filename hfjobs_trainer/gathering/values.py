"""Values out of JSON that others wrote, taken for what they are meant to be only if they are that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from hfjobs_trainer.specs.source import read_text

# Bytes; the index of the largest models has some 10 MB.
_LARGEST = 32_000_000

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


def as_number(value: object) -> float | None:
    """``value`` as a number if it is one, else ``None``."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_text(value: object) -> str | None:
    """``value`` if it is a text that is not empty, else ``None``."""
    return value if isinstance(value, str) and value else None


def read_json(path: Path) -> Json:
    """The JSON object in a file, empty if it holds something else.

    Raises:
        OSError, ValueError: It cannot be read, is larger than the largest index of weights, or is not JSON.
    """
    return as_json(json.loads(read_text(path, _LARGEST)))
