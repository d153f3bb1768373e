"""Where names get their values: the file or cells of a function, and the statement that binds each name."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.names import bindings, evaluated, is_for_type_checkers
from hfjobs_trainer.specs.capture.text import Definition, Located, Text, locate, locate_class, texts_of

_MUTATORS = re.compile(
    "add|append|appendleft|clear|discard|extend|insert|pop|popitem|remove|reverse|setdefault|sort|update"
)
# Of an object that keeps what it is given, such as a registry of functions.
_FILLERS = re.compile("register|add(?!Handler|Filter)|seed")
_COLLECTIONS = frozenset(["Counter", "OrderedDict", "deque", "dict", "list", "set"])
IMPORTS = ast.Import | ast.ImportFrom
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_PLAIN = (IMPORTS, DEFINITIONS, ast.Assign, ast.AnnAssign, ast.Pass, ast.If, ast.Try, ast.Raise)


@dataclass(frozen=True, slots=True)
class Home:
    """The names that code sees, and the file or cell that it stands in."""

    scope: dict[str, Any] = field(repr=False)
    filename: str

    @property
    def is_notebook(self) -> bool:
        """Whether names may have been bound by other cells."""
        return not Path(self.filename).is_file()


@dataclass(frozen=True, slots=True)
class Binding:
    """A statement at the top of a file or cell that binds a name.

    Attributes:
        text: The file or cell.
        top: The statement.
        leaf: The innermost statement of it that binds the name.
    """

    text: Text
    top: ast.stmt
    leaf: ast.stmt

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return f"{Path(self.text.filename).name}, line {self.leaf.lineno}"


def home_of(value: FunctionType | type) -> Home:
    """The names that a function or a class sees.

    Raises:
        LookupError: They are not to be found.
    """
    if isinstance(value, FunctionType):
        return Home(value.__globals__, value.__code__.co_filename)
    for item in vars(value).values():
        function = getattr(item, "__func__", item)
        inside = isinstance(function, FunctionType) and function.__qualname__.startswith(f"{value.__qualname__}.")
        if inside and function.__module__ == value.__module__ and "__name__" in function.__globals__:
            located = locate_class(value)
            return Home(function.__globals__, located.text.filename if located else function.__code__.co_filename)
    home = home_of_module(value.__module__)
    if home is None:
        raise LookupError(value.__name__)
    return home


def home_of_module(name: str) -> Home | None:
    """The names of a loaded module; ``None`` for one that is not loaded."""
    module = sys.modules.get(name)
    return Home(vars(module), getattr(module, "__file__", None) or "<notebook>") if module is not None else None


def find_definition(value: FunctionType | type) -> Located | None:
    """The definition of a function or a class; ``None`` for a class that has none to be found.

    Raises:
        CaptureError: It was edited since it was loaded, or a function has no source.
    """
    if isinstance(value, FunctionType):
        return locate(value)
    located = locate_class(value)
    if located is not None or "." in value.__qualname__:
        return located
    home = home_of_module(value.__module__)
    found = choose_binding(value.__name__, value, home) if home is not None else None
    return Located(found.text, found.leaf) if found and isinstance(found.leaf, ast.ClassDef) else None


def find_called(value: Any) -> tuple[Definition, dict[str, Any]] | None:
    """The definition of something of the user's own that is called, and the names it sees."""
    function = inspect.unwrap(value) if callable(value) else value
    try:
        located = find_definition(function)
        return (located.node, home_of(function).scope) if located else None
    except (CaptureError, LookupError):
        return None


def absolute_name(module: str, level: int, scope: dict[str, Any]) -> str:
    """The name of a module in an import statement, the package written out."""
    if not level:
        return module
    package = str(scope.get("__package__") or "").rsplit(".", level - 1)[0]
    return f"{package}.{module}" if module else package


def place_of(text: Text, node: ast.stmt | ast.expr) -> str:
    """Where something stands, for a message."""
    return f"{Path(text.filename).name}, line {node.lineno}"


def is_star(statement: ast.stmt) -> bool:
    """Whether it is ``from ... import *``."""
    return isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names)


def statements_of(home: Home) -> Iterator[Binding]:
    """All statements at the top of the home's file or cells."""
    for text in texts_of(home.scope, home.filename):
        yield from (Binding(text, top, top) for top in text.tree.body)


@lru_cache(maxsize=256)
def _bindings_of(text: Text) -> dict[str, list[Binding]]:
    found: dict[str, list[Binding]] = {}
    for top in text.tree.body:
        if not is_for_type_checkers(top):
            for name, leaf in bindings(top):
                found.setdefault(name, []).append(Binding(text, top, leaf))
    return found


def find_bindings(name: str, home: Home) -> list[Binding]:
    """The statements that bind a name at the top of its file, or of the cells of its notebook."""
    return [found for text in texts_of(home.scope, home.filename) for found in _bindings_of(text).get(name, ())]


def choose_binding(name: str, value: Any, home: Home) -> Binding | None:
    """The statement by which a name has its value; of a notebook's cells the last that can have given it.

    Raises:
        CaptureError: A file assigns it more than once.
    """
    found = find_bindings(name, home)
    tops = {(item.text, item.top.lineno) for item in found}
    if len(tops) < 2:
        return next((item for item in reversed(found) if _can_give(item.leaf, value)), found[-1]) if found else None
    if all(isinstance(item.leaf, IMPORTS) for item in found) or all(
        isinstance(item.leaf, DEFINITIONS) for item in found
    ):
        function = inspect.unwrap(value) if callable(value) else value
        if isinstance(function, FunctionType) and not isinstance(found[-1].leaf, IMPORTS):
            node = locate(function).node
            found = [item for item in found if getattr(item.leaf, "lineno", 0) == node.lineno] or found
        return found[-1]
    if not home.is_notebook:
        lines = ", ".join(str(item.leaf.lineno) for item in found)
        where = Path(found[0].text.filename).name
        raise CaptureError(f"{name} is assigned more than once in {where} (lines {lines}): assign it once")
    return next((item for item in reversed(found) if _can_give(item.leaf, value)), found[-1])


def _can_give(leaf: ast.stmt, value: Any) -> bool:
    if isinstance(leaf, DEFINITIONS):
        return callable(value) and getattr(value, "__name__", leaf.name) == leaf.name
    known, expected = _literal_of(leaf)
    return not known or (type(value) is type(expected) and value == expected)


def _literal_of(statement: ast.stmt) -> tuple[bool, Any]:
    """Whether a statement assigns a literal to one name, and which."""
    single = isinstance(statement, ast.AnnAssign) or (
        isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets)
    )
    value = getattr(statement, "value", None)
    if not single or value is None:
        return False, None
    try:
        return True, ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False, None


def movable(name: str, found: Binding, user: str) -> ast.stmt:
    """The statement that travels: the whole one at the top, or of ``if __name__ == ...`` the one inside.

    Raises:
        CaptureError: There is none that could run alone.
    """
    top, leaf = found.top, found.leaf
    if isinstance(top, ast.If) and "__name__" in ast.unparse(top.test):
        top = leaf
    plain = isinstance(leaf, ast.Assign | ast.AnnAssign | DEFINITIONS | IMPORTS)
    if not plain or not all(isinstance(item, _PLAIN) for item in _all(top)):
        kind = type(top if plain else leaf).__name__.lower().removeprefix("async")
        what = f"{user} uses {name}, which is set in a statement of kind `{kind}` ({found.place})"
        raise CaptureError(f"{what}: assign it once, by `{name} = ...`")
    return top


def _all(statement: ast.stmt) -> Iterator[ast.stmt]:
    yield statement
    if isinstance(statement, ast.If | ast.Try):
        handlers = [item for handler in getattr(statement, "handlers", ()) for item in handler.body]
        for item in (*statement.body, *statement.orelse, *getattr(statement, "finalbody", ()), *handlers):
            yield from _all(item)


def refuse_attributes(name: str, home: Home, user: str) -> None:
    """Refuse a function or class that gets attributes after its definition, which its source has not.

    Raises:
        CaptureError: It does.
    """
    it = f"{user} uses {name}, which" if name != user else name
    for item in statements_of(home):
        where = f"{Path(item.text.filename).name}, line {item.top.lineno}"
        targets = item.top.targets if isinstance(item.top, ast.Assign) else ()
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == name and target.attr[:2] != "__":
                what = f"{it} gets `{ast.unparse(target)}` after its definition ({where})"
                raise CaptureError(f"{what}: make it a constant beside it")
        if f"{name}.register" in map(ast.unparse, _called_by(item.top)):  # functools.singledispatch
            raise CaptureError(f"{it} is told more by `{name}.register` ({where}): write it as one function")


def refuse_changed(name: str, value: Any, chosen: ast.stmt, found: Binding, home: Home, user: str) -> None:
    """Refuse a name whose value is no longer what its statement says."""
    for item in statements_of(home):
        if item.top is not chosen and (line := _changes(name, item.top)):
            where = Path(item.text.filename).name
            what = f"{user} uses {name}, which is changed after its assignment ({where}, line {line})"
            raise CaptureError(f"{what}: write it as one expression")
    known, expected = _literal_of(chosen)
    differs = known and (type(value) is not type(expected) or value != expected)
    if differs or (_is_empty(chosen) and _is_filled(value)):
        what = f"{user} uses {name}, which is no longer what {found.place} assigns"
        raise CaptureError(f"{what}: assign it anew, or write its value there")


def _is_empty(statement: ast.stmt) -> bool:
    """Whether a statement makes an empty collection by a call."""
    made = getattr(statement, "value", None)
    if not isinstance(made, ast.Call):
        return False
    kind = ast.unparse(made.func).rpartition(".")[2]
    given = len(made.args) + len(made.keywords)
    return (kind in _COLLECTIONS and not given) or (kind == "defaultdict" and given < 2)


def _is_filled(value: Any) -> bool:
    return isinstance(value, Sized) and len(value) > 0


def _called_by(top: ast.stmt) -> Iterator[ast.expr]:
    """What a statement calls for what it does to it: as a decorator, or alone."""
    for item in (*getattr(top, "decorator_list", ()), *([top.value] if isinstance(top, ast.Expr) else ())):
        if isinstance(item, ast.Call):
            yield item.func
        elif not isinstance(top, ast.Expr):
            yield item


def _changes(name: str, top: ast.stmt) -> int:
    """Line in which a statement changes the value of a name in place; 0 if it does not."""
    for called in _called_by(top):
        if isinstance(called, ast.Attribute) and ast.unparse(called.value) == name and _FILLERS.match(called.attr):
            return top.lineno
    for node in evaluated(top):
        target: ast.AST | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _MUTATORS.fullmatch(node.func.attr):
            target = node.func.value
        elif isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            target = node.value
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
        if isinstance(target, ast.Name) and target.id == name:
            return getattr(node, "lineno", top.lineno)
    return 0
