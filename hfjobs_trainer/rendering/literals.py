"""The only way a value enters a script: writers of Python and TOML literals.

What they write evaluates to the value and to nothing else, and is already as ``ruff format`` would have it.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, cast

LINE_LENGTH = 88
_INDENT = "    "
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def python_literal(
    value: Any, *, indent: int = 0, column: int | None = None, reserve: int = 1, plain: bool = False
) -> str:
    """Python source of a value.

    Args:
        value: None, bool, int, finite float, str, or lists, tuples and dicts of these.
        indent: Columns by which the line is indented on which the literal begins.
        column: Column at which the literal begins; ``indent`` if not given.
        reserve: Columns that must stay free behind the literal, such as 1 for a comma.
        plain: Whether to write ASCII only.

    Raises:
        TypeError: The value has no literal.
    """
    start = indent if column is None else column
    flat = _flat(value, plain)
    if not isinstance(value, Mapping | list | tuple) or not value:
        return flat
    fits = _fits(flat, LINE_LENGTH - start - reserve)
    if fits is None:
        return python_literal(value, indent=indent, column=column, reserve=reserve, plain=True)
    if fits:
        return flat
    inner = " " * indent + _INDENT
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        lines = [_item(key, item, len(inner), plain) for key, item in pairs]
        opening, closing = "{", "}"
    else:
        items = cast("Sequence[Any]", value)
        lines = [inner + python_literal(item, indent=len(inner), plain=plain) + "," for item in items]
        opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
    return "\n".join([opening, *lines, " " * indent + closing])


def dict_lines(items: Mapping[str, Any], *, indent: int) -> str:
    """Items of a dict, one a line, each indented and ending in a comma.

    Raises:
        TypeError: A value has no literal.
    """
    return "\n".join(_item(key, value, indent, False) for key, value in items.items())


def keyword_lines(arguments: Mapping[str, Any], *, indent: int) -> str:
    """Keyword arguments of a call, one a line, each indented and ending in a comma.

    Raises:
        ValueError: A name is no identifier.
        TypeError: A value has no literal.
    """
    lines: list[str] = []
    for name, value in arguments.items():
        head = f"{' ' * indent}{identifier(name)}="
        lines.append(head + python_literal(value, indent=indent, column=len(head)) + ",")
    return "\n".join(lines)


def assignment(name: str, value: Any) -> str:
    """A module-level assignment, its value in parentheses where the formatter would put them."""
    head = f"{identifier(name)} = "
    text = python_literal(value, column=len(head), reserve=0)
    if "\n" in text:
        return head + text
    in_line, alone = _fits(text, LINE_LENGTH - len(head)), _fits(text, LINE_LENGTH - len(_INDENT))
    if in_line is None or alone is None:
        text = python_literal(value, column=len(head), reserve=0, plain=True)
        in_line, alone = _fits(text, LINE_LENGTH - len(head)), _fits(text, LINE_LENGTH - len(_INDENT))
    return head + text if in_line or not alone else f"{head}(\n{_INDENT}{text}\n)"


def text_lines(text: str) -> str:
    """Python source of a long text, whatever it holds: a literal a line, in parentheses."""
    lines = text.splitlines(keepends=True) or [""]
    return "(\n" + "".join(f"{_INDENT}{_string(line, plain=False)}\n" for line in lines) + ")"


def identifier(name: str) -> str:
    """``name``, if it can stand as a name in Python source.

    Raises:
        ValueError: It cannot.
    """
    import keyword

    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        raise ValueError(f"{name!r} cannot be a Python name")
    return name


def _item(key: Any, value: Any, indent: int, plain: bool) -> str:
    head = f"{' ' * indent}{_flat(key, plain)}: "
    narrowest, widest = widths(head)
    if narrowest != widest and isinstance(value, Mapping | list | tuple):
        head = f"{' ' * indent}{_flat(key, True)}: "
    return head + python_literal(value, indent=indent, column=widths(head)[1], plain=plain) + ","


def _flat(value: Any, plain: bool = False) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return _string(value, plain)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return "{" + ", ".join(f"{_flat(key, plain)}: {_flat(item, plain)}" for key, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(item, plain) for item in cast("list[Any]", value)) + "]"
    if isinstance(value, tuple):
        items = [_flat(item, plain) for item in cast("tuple[Any, ...]", value)]
        return "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
    raise TypeError(f"a {type(value).__name__} cannot be written into a script")


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise TypeError(f"{value} cannot be written into a script")
    return float.__repr__(value).replace("e+", "e")


def _string(text: str, plain: bool) -> str:
    # fewest escapes, double quotes on a tie: as the formatter chooses
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(_character(char, quote, plain) for char in text) + quote


def _character(char: str, quote: str, plain: bool) -> str:
    if char == quote:
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    # separators, controls, invisible and bidirectional marks, surrogates are spelt out: what is read is what is there
    if char.isprintable() and (char.isascii() or not plain):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _fits(text: str, columns: int) -> bool | None:
    """Whether the text fits; ``None`` where that depends on how wide a formatter takes its characters to be."""
    narrowest, widest = widths(text)
    return True if widest <= columns else False if narrowest > columns else None


def widths(text: str) -> tuple[int, int]:
    """The fewest and the most columns that the text can take: marks and joined characters are a matter of opinion."""
    if text.isascii():
        return len(text), len(text)
    narrowest = widest = 0
    for char in text:
        category, wide = unicodedata.category(char), unicodedata.east_asian_width(char) in "WF"
        sure = char.isascii() or category in {"Lu", "Ll", "Nd"} or (category == "Lo" and wide)
        narrowest += (2 if wide else 1) if sure else 0
        widest += (2 if wide else 1) if sure else 2
    return narrowest, widest


# -- TOML


def toml_string(text: str) -> str:
    """A TOML basic string on one line, in ASCII.

    Raises:
        ValueError: The text holds a lone surrogate, which TOML cannot express.
    """
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        raise ValueError("a lone surrogate cannot be written into a header")
    plain = {'"': '\\"', **_ESCAPES}
    return '"' + "".join(plain.get(char) or (char if " " <= char <= "~" else _toml_escape(char)) for char in text) + '"'


def toml_key(name: str) -> str:
    """The key of a TOML table, bare where it can be."""
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else toml_string(name)


def toml_value(value: Any) -> str:
    """A TOML value: text, number, boolean, time, or lists and mappings of these; lists go one item a line.

    Raises:
        TypeError: The value has no TOML form.
    """
    if isinstance(value, list | tuple):
        return "[\n" + "".join(f"    {toml_inline(item)},\n" for item in cast("Sequence[Any]", value)) + "]"
    return toml_inline(value)


def toml_inline(value: Any) -> str:
    """A TOML value as ``toml_value`` writes it, lists on one line too.

    Raises:
        TypeError: The value has no TOML form.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return "{ " + ", ".join(f"{toml_string(key)} = {toml_inline(item)}" for key, item in items) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_inline(item) for item in cast("Sequence[Any]", value)) + "]"
    raise TypeError(f"a {type(value).__name__} cannot be written into a header")


def json_block(text: str) -> str:
    """ASCII JSON, or text without apostrophes, as a TOML literal string of several lines, nothing in it escaped.

    Raises:
        ValueError: The text is not ASCII or holds control characters.
    """
    if not all(char == "\n" or " " <= char <= "~" for char in text):
        raise ValueError("only ASCII can stand in a header")
    # an apostrophe can only be inside a JSON string, where its escape means the same
    escaped = text.replace("'", "\\u0027")
    return f"'''\n{escaped}\n'''"


def _toml_escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
