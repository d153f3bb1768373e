"""A fix in the words of a shell: ``hardware=hft.Hardware(max_usd=5)`` is ``--hardware.max_usd 5`` there."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Iterator
from typing import Any, cast


def as_flags(fix: str) -> str:
    """Keyword arguments as options; any other fix, such as a line for a shell, as it is."""
    try:
        call = ast.parse(f"_({fix})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return fix
    if not isinstance(call, ast.Call) or call.args or not call.keywords:
        return fix
    try:
        return " ".join(word for keyword in call.keywords for word in _flag(keyword, ""))
    except ValueError:
        return fix


def _flag(keyword: ast.keyword, prefix: str) -> Iterator[str]:
    if keyword.arg is None:
        raise ValueError
    name, value = prefix + keyword.arg, keyword.value
    if isinstance(value, ast.Call):
        is_group = isinstance(value.func, ast.Attribute) and isinstance(value.func.value, ast.Name)
        if not is_group or value.args or not value.keywords:
            raise ValueError
        for inner in value.keywords:
            yield from _flag(inner, f"{name}.")
        return
    found: Any = ast.literal_eval(value)
    items = cast("list[Any]", found) if isinstance(found, list) else [found]
    yield f"--{name}"
    yield from (shlex.quote(item if isinstance(item, str) else json.dumps(item)) for item in items)
