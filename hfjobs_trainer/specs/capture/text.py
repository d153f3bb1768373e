"""Where code was written: whole files and cells, the statement of an object in them, taken out as it stands."""

from __future__ import annotations

import ast
import importlib.machinery
import io
import linecache
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

from hfjobs_trainer.specs.capture.errors import CaptureError

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda

# Flags of a code object that stand for `from __future__ import ...` of the text it was compiled from.
_FUTURE = 0x1FF0000
_NOWHERE = "cannot be found: define it in a file or a notebook cell"


@dataclass(frozen=True, slots=True)
class Text:
    """A file or a cell.

    Attributes:
        filename: As code objects name it.
        source: All of it, with plain line ends.
        tree: The same, parsed.
    """

    filename: str
    source: str
    tree: ast.Module

    def __hash__(self) -> int:
        return hash((self.filename, self.source))

    def segment(self, node: ast.stmt | ast.expr, *, bare: bool = False) -> str:
        """A statement as it was written, with its comments, moved to the left margin; ``bare``: without decorators."""
        decorators: list[ast.expr] = [] if bare else getattr(node, "decorator_list", [])
        first = min([node.lineno, *(item.lineno for item in decorators)])
        last, lines = node.end_lineno or node.lineno, self.source.split("\n")
        chosen = lines[first - 1 : last]
        # other statements may stand on the same lines
        behind = chosen[-1].encode()[node.end_col_offset :].decode()
        if isinstance(node, ast.expr) or (behind.strip() and not behind.strip().startswith("#")):
            chosen[-1] = chosen[-1].encode()[: node.end_col_offset].decode()
        before = chosen[0].encode()[: 0 if decorators else node.col_offset].decode()
        if before.strip():
            chosen[0] = chosen[0][len(before) :]
        return _dedented(chosen)


def read_text(filename: str, scope: dict[str, Any] | None = None) -> Text | None:
    """The file or cell of this name, as it is now; ``None`` if there is none, or it is no Python."""
    linecache.checkcache(filename)
    return _parsed(filename, "".join(linecache.getlines(filename, scope)))


@lru_cache(maxsize=256)
def _parsed(filename: str, source: str) -> Text | None:
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return Text(filename, source, ast.parse(source)) if source.strip() else None
    except (SyntaxError, ValueError):
        return None


def texts_of(scope: dict[str, Any], filename: str) -> list[Text]:
    """The texts that may have bound the names of a scope: its file, or all cells of its notebook, oldest first."""
    own = read_text(filename, scope)
    if Path(filename).is_file():
        return [own] if own else []
    history: Any = scope.get("In")
    if isinstance(history, list):
        items = enumerate(cast("list[Any]", history))
        cells = [_parsed(f"In [{number}]", item) for number, item in items if isinstance(item, str)]
    else:
        names = [name for name in list(linecache.cache) if name != filename and not Path(name).is_file()]
        cells = [read_text(name) for name in names]
    return [*(cell for cell in cells if cell is not None), *([own] if own and history is None else [])]


@dataclass(frozen=True, slots=True)
class Located:
    """A definition in its text."""

    text: Text
    node: Definition

    @property
    def source(self) -> str:
        """The definition as it was written."""
        return self.text.segment(self.node)


def locate(function: FunctionType) -> Located:
    """The definition of a function.

    Raises:
        CaptureError: It has no source, or another one by now.
    """
    code, name = function.__code__, function.__qualname__
    text = read_text(code.co_filename, function.__globals__)
    if text is None:
        timed = " without %%time" if code.co_filename == "<timed exec>" else ""  # IPython keeps no text of it
        raise CaptureError(f"the source of {function.__name__} {_NOWHERE}{timed}")
    changed = CaptureError(f"{name} is no longer what {Path(code.co_filename).name} says: import or run it anew")
    if not _is_transformed(function.__globals__) and not _has(text, code):
        raise changed
    if code.co_name == "<lambda>":
        places = {position for position in code.co_positions() if position[0] is not None}
        found: list[Definition] = [
            node
            for node in ast.walk(text.tree)
            if isinstance(node, ast.Lambda)
            and (node.body.lineno, node.body.end_lineno, node.body.col_offset, node.body.end_col_offset) in places
        ]
    else:
        found = [
            node
            for node in ast.walk(text.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == code.co_name
            and min([node.lineno, *(item.lineno for item in node.decorator_list)]) == code.co_firstlineno
        ]
    if len(found) != 1:
        raise changed
    return Located(text, found[0])


def locate_class(kind: type) -> Located | None:
    """The definition of a class by that of one of its functions; ``None`` if it has none.

    Raises:
        CaptureError: As for ``locate``.
    """
    for value in vars(kind).values():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if (
            not isinstance(function, FunctionType)
            or function.__qualname__ != f"{kind.__qualname__}.{function.__code__.co_name}"
        ):
            continue
        if read_text(function.__code__.co_filename, function.__globals__) is None:
            continue  # made by a decorator, as the methods of a dataclass are
        method = locate(function)
        around: list[Definition] = [
            node
            for node in ast.walk(method.text.tree)
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__ and method.node in node.body
        ]
        if len(around) == 1:
            return Located(method.text, around[0])
    return None


def _is_transformed(scope: dict[str, Any]) -> bool:
    """Whether a module is compiled from something else than its text, as pytest rewrites assertions."""
    loader = getattr(scope.get("__spec__"), "loader", None)
    return loader is not None and type(loader) is not importlib.machinery.SourceFileLoader


def _has(text: Text, code: CodeType) -> bool:
    """Whether compiling the text gives this very code."""
    wanted = _shape(code)
    return any(
        other.co_firstlineno == code.co_firstlineno and other.co_name == code.co_name and _shape(other) == wanted
        for other in _codes(text, code.co_flags & _FUTURE)
    )


@lru_cache(maxsize=64)
def _codes(text: Text, flags: int) -> tuple[CodeType, ...]:
    for more in (0, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT):
        try:
            return tuple(_all(compile(text.source, text.filename, "exec", flags | more, dont_inherit=True)))
        except (SyntaxError, ValueError):
            continue
    return ()


def _all(code: CodeType) -> Iterator[CodeType]:
    yield code
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from _all(item)


def _shape(code: CodeType) -> tuple[object, ...]:
    inner = tuple(_shape(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts)
    names = (code.co_names, code.co_varnames, code.co_freevars)
    return (code.co_code, names, inner, tuple(code.co_positions()))


def _constant(value: object) -> object:
    # the order of a set's items changes from process to process
    return (
        (type(value), value)
        if not isinstance(value, frozenset)
        else frozenset(map(repr, cast("frozenset[Any]", value)))
    )


def _dedented(lines: list[str]) -> str:
    """Lines of a statement without the margin of the first."""
    lines = [line.rstrip("\r\n") for line in lines]
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    if not margin:
        return "\n".join(lines) + "\n"
    inside = lines_in_strings("\n".join(lines) + "\n")
    return "".join(
        (line if number in inside else line.removeprefix(margin) if line.startswith(margin) else line.lstrip()) + "\n"
        for number, line in enumerate(lines, 1)
    )


def lines_in_strings(source: str) -> set[int]:
    """Numbers of the lines that begin inside a text, whose margin is part of the value."""
    inside: set[int] = set()
    depth, first = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "STRING":
            inside |= set(range(token.start[0] + 1, token.end[0] + 1))
        elif kind.endswith("_START"):  # f-strings are several tokens since Python 3.12
            depth, first = depth + 1, first if depth else token.start[0]
        elif kind.endswith("_END"):
            depth -= 1
            if not depth:
                inside |= set(range(first + 1, token.end[0] + 1))
    return inside


def indented(source: str, *, texts: bool = False) -> str:
    """Source moved in by one level; its texts over several lines are kept as they are, unless ``texts``."""
    inside: set[int] = set() if texts else lines_in_strings(source)
    lines = source.rstrip("\n").split("\n")
    return "".join(
        (f"    {line}" if line and number not in inside else line) + "\n" for number, line in enumerate(lines, 1)
    )
