"""Options of a command, before the command that it starts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

# a negative number is a value
_OPTION = re.compile(r"--|-[A-Za-z]")
_MOST_DIGITS = 18


def whole(text: str) -> int | None:
    """The number that a text is, if it is one of ordinary size."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def read_options(
    words: Sequence[str],
    *,
    flags: Collection[str],
    ends: Collection[str],
    aliases: Mapping[str, str],
    several: Collection[str] = (),
    open: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Options by name, with ``_`` for ``-``, and the words from the first that belongs to none.

    Args:
        words: What follows the command's name.
        flags: Options that take no value; each other takes one, if it is followed by any.
        ends: Flags after which a module's name follows, and no option any more.
        aliases: Short names, and the options that they stand for.
        several: Options that may be repeated, given as a list.
        open: Whether the words after an option, up to the next, are all its own.
    """
    given: dict[str, Any] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, has_value, value = word.lstrip("-").partition("=")
        name = aliases.get(name, name).replace("-", "_")
        name = aliases.get(name, name)
        if name in ends:
            break
        if has_value or name in flags:
            said: Any = value if has_value else True
        elif open:
            count = next((index for index, item in enumerate(rest) if _OPTION.match(item)), len(rest))
            taken, rest = rest[:count], rest[count:]
            said = True if not taken else taken[0] if count == 1 else taken
        else:
            said = rest.pop(0) if rest else True
        given[name] = [*cast("list[Any]", given.get(name, [])), said] if name in several else said
    return given, rest
