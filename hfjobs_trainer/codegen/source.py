"""Python source from types and text: what the generators share."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections import abc
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hfjobs_trainer.errors import HFTError

LINE_LENGTH = 120

Named = Callable[[Any], str | None]
"""Gives the name that a type goes by in the generated module, or ``None`` to have it written out."""


def format_python(text: str) -> str:
    """Return ``text`` as ``ruff check --select I --fix`` and ``ruff format`` leave it, at 120 columns.

    Raises:
        HFTError: ruff is not installed, or the text is not Python.
    """
    common = ["--isolated", "--line-length", str(LINE_LENGTH), "--target-version", "py311", "-"]
    first_party = "lint.isort.known-first-party=['hfjobs_trainer']"
    sort = ["check", "--select", "I", "--fix", "--quiet", "--config", first_party]
    for command in (sort, ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *common], input=text, capture_output=True, text=True, encoding="utf-8"
        )
        if done.returncode != 0:
            raise HFTError(f"ruff {command[0]} could not work on generated source: {done.stderr.strip()}")
        text = done.stdout
    return text


def strip_annotated(tp: Any) -> Any:
    """Return the type without its outermost ``Annotated``, if it has one."""
    return get_args(tp)[0] if get_origin(tp) is Annotated else tp


def members_of(tp: Any) -> list[Any]:
    """Return the members of a union, nested ones included, or the type itself alone; ``Annotated`` is taken off."""
    tp = strip_annotated(tp)
    if get_origin(tp) in (Union, types.UnionType):
        return [inner for member in get_args(tp) for inner in members_of(member)]
    return [tp]


def type_text(tp: Any, named: Named) -> str:
    """Return the source of a type.

    Args:
        tp: A class, ``None``, ``Any``, or a union, Literal, Annotated or subscripted generic of such.
        named: Names for classes and for types with an alias; it is asked first, for every part of the type.

    Raises:
        HFTError: For a kind of type that no generated module needs.
    """
    tp = strip_annotated(tp)
    if tp is None or tp is type(None):
        return "None"
    if name := named(tp):
        return name
    origin, args = get_origin(tp), get_args(tp)
    if origin in (Union, types.UnionType):
        return _union_text(tp, named)
    if origin is Literal:
        return f"Literal[{', '.join(repr(value.value if isinstance(value, Enum) else value) for value in args)}]"
    if origin is abc.Callable:
        parameters = "..." if args[0] is Ellipsis else f"[{', '.join(type_text(arg, named) for arg in args[0])}]"
        return f"Callable[{parameters}, {type_text(args[1], named)}]"
    if isinstance(origin, type):
        inner = ", ".join("..." if arg is Ellipsis else type_text(arg, named) for arg in args)
        return f"{named(origin) or origin.__name__}[{inner}]"
    if tp is Any:
        return "Any"
    if isinstance(tp, type) and tp.__module__ == "builtins":
        return {"dict": "dict[str, Any]", "list": "list[Any]"}.get(tp.__name__, tp.__name__)
    if isinstance(tp, type) and tp.__module__ in ("collections.abc", "typing"):
        return tp.__name__
    raise HFTError(f"codegen cannot write the type {tp!r}; teach hfjobs_trainer/codegen/source.py")


def _union_text(tp: Any, named: Named) -> str:
    members = members_of(tp)
    texts = list(dict.fromkeys(type_text(member, named) for member in members))
    if "float" in texts and "int" in texts:
        texts.remove("int")  # a type checker takes an int wherever a float is asked for
    if "None" in texts:
        texts.remove("None")
        texts.append("None")
    return " | ".join(texts)


def imports_for(text: str, sources: Mapping[str, tuple[str, ...]]) -> str:
    """Return the import lines for those names in ``sources`` (module -> names) that occur in ``text`` as words."""
    words = {match.group() for match in re.finditer(r"[A-Za-z_]\w*", text)}
    lines: list[str] = []
    for module, names in sources.items():
        used = sorted(name for name in names if name in words)
        if used:
            lines.append(f"from {module} import {', '.join(used)}")
    return "\n".join(lines)
