"""Values that are bound to what travels: written as literals, or refused by name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any, cast

from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.tokens import names_a_secret, token_kind

SHORTEST = 8
"""Fewest characters of a value that is compared with the environment: shorter ones are equal by chance."""


def literal(value: Any, where: str) -> str:
    """Python source of a value that is a literal, or a compiled pattern.

    Args:
        value: The value.
        where: What it belongs to, for the message, such as ``"weight of reward"``.

    Raises:
        CaptureError: It is something else; or text of it is a secret.
    """
    refuse_secrets(value, where)
    return _literal(value, where, ())


def _literal(value: Any, where: str, around: tuple[int, ...]) -> str:
    kind = cast("type[Any]", type(value))
    if value is None or kind in (bool, int, str, bytes):
        return repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if kind is complex and math.isfinite(value.real) and math.isfinite(value.imag):
        return repr(value)
    if isinstance(value, re.Pattern):
        pattern = cast("re.Pattern[Any]", value)
        flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, str) else pattern.flags
        named = " | ".join(f"re.{flag.name}" for flag in re.RegexFlag if flag & flags)
        return f"re.compile({pattern.pattern!r}{f', {named}' if named else ''})"
    if id(value) in around:
        raise CaptureError(f"{where} contains itself, and cannot be written down")
    inner = (*around, id(value))
    if kind is dict:
        pairs = cast("dict[Any, Any]", value).items()
        return "{" + ", ".join(f"{_literal(a, where, inner)}: {_literal(b, where, inner)}" for a, b in pairs) + "}"
    if kind in (list, tuple, set, frozenset):
        items = [_literal(item, where, inner) for item in cast("list[Any]", value)]
        if kind in (set, frozenset):
            text = "{" + ", ".join(sorted(items)) + "}" if items else ""
            return f"frozenset({text})" if kind is frozenset else text or "set()"
        text = ", ".join(items)
        return f"[{text}]" if kind is list else f"({text}{',' if len(items) == 1 else ''})"
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    raise CaptureError(f"{where} is a {name}, which cannot be written into a script: make it inside the function")


def refuse_secrets(value: Any, where: str) -> None:
    """Refuse a value that is a secret, without showing it.

    Raises:
        CaptureError: Text in it looks like a token, or is the value of an environment variable.
    """
    inside = "read it inside the function"
    for text in _texts(value, ()):
        if (kind := token_kind(text)) is not None:
            raise CaptureError(f'{where} holds {kind}: {inside}, `os.environ["NAME"]`, with secrets=["NAME"]')
        if len(text) < SHORTEST:
            continue
        name = next((name for name, known in os.environ.items() if known == text), None)
        name = name or next((name for name, known in secrets_here() if known in text), None)
        if name is not None:
            read = f'{inside}, `os.environ["{name}"]`, with secrets=["{name}"]'
            what = "is" if os.environ[name] == text else "holds"
            raise CaptureError(f"{where} {what} the value of the environment variable {name}: {read}")


def secrets_here() -> Iterator[tuple[str, str]]:
    """Environment variables of this machine that hold a secret, by their names, with their values."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and names_a_secret(name, value):
            yield name, value


def _texts(value: Any, around: tuple[int, ...]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, re.Pattern):
        yield from _texts(cast("re.Pattern[Any]", value).pattern, around)
    elif isinstance(value, Mapping | list | tuple | Set):
        whole = cast("Any", value)
        if id(whole) in around:
            return
        inner = (*around, id(whole))
        items: Any = whole.items() if isinstance(value, Mapping) else whole
        for item in items:
            yield from _texts(item, inner)
