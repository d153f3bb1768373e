"""Python source from types and text, shared by the generators."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic_core import PydanticUndefined

from hfjobs_trainer.errors import HFTError

LINE_LENGTH = 120
_CALLABLE: Any = get_origin(Callable[..., Any])

Named = Callable[[Any], str | None]
"""Returns the name of a type in the generated module, or ``None`` to write it out."""


def format_python(text: str) -> str:
    """Return ``text`` formatted by ruff at 120 columns, with its imports sorted and unused ones removed.

    Raises:
        HFTError: ruff is not installed, or the text is not Python.
    """
    common = ["--isolated", "--line-length", str(LINE_LENGTH), "--target-version", "py311", "-"]
    first_party = "lint.isort.known-first-party=['hfjobs_trainer']"
    tidy = ["check", "--select", "F401,I", "--fix", "--quiet", "--config", first_party]
    for command in (tidy, ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *common],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        if done.returncode != 0:
            raise HFTError(f"ruff {command[0]} failed on generated source: {done.stderr.strip()}")
        text = done.stdout
    return text


def accepted_type(tp: Any) -> Any:
    """Return the type that a field accepts.

    That is the ``json_schema_input_type`` of a pydantic ``BeforeValidator`` in the outermost ``Annotated``, if there is
    one, else the annotated type.
    """
    if get_origin(tp) is not Annotated:
        return tp
    inner, *notes = get_args(tp)
    declared = [note.json_schema_input_type for note in notes if isinstance(note, BeforeValidator)]
    return next((given for given in declared if given is not PydanticUndefined), inner)


def members_of(tp: Any) -> list[Any]:
    """Return the members of a union, nested ones included, or the type itself alone."""
    tp = accepted_type(tp)
    if get_origin(tp) in (Union, types.UnionType):
        return [inner for member in get_args(tp) for inner in members_of(member)]
    return [tp]


def type_text(tp: Any, named: Named) -> str:
    """Return the source of a type.

    Args:
        tp: A class, ``None``, ``Any``, or a union, Literal, Annotated or subscripted generic of such.
        named: Names for classes and for types with an alias; called first, for every part of the type.

    Raises:
        HFTError: The kind of type is not supported.
    """
    tp = accepted_type(tp)
    if tp is None or tp is type(None):
        return "None"
    if name := named(tp):
        return name
    origin, args = get_origin(tp), get_args(tp)
    if origin in (Union, types.UnionType):
        return _union_text(tp, named)
    if origin is Literal:
        return f"Literal[{', '.join(repr(value.value if isinstance(value, Enum) else value) for value in args)}]"
    if origin is _CALLABLE:
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
        texts.remove("int")  # a type checker accepts an int for a float
    if "None" in texts:
        texts.remove("None")
        texts.append("None")
    return " | ".join(texts)
