"""What code leans on, collected: statements of the user's own files and cells, and imports, each once and in order."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.names import bindings, evaluated, is_for_type_checkers, names_needed
from hfjobs_trainer.specs.capture.origins import (
    chains,
    import_module,
    imports_inside,
    is_own,
    module_file,
    origin,
    own_file,
)
from hfjobs_trainer.specs.capture.reads import refuse_reads, secret_in
from hfjobs_trainer.specs.capture.text import Definition, Located, Text, locate, locate_class, texts_of

# Builtins of a notebook only.
_NOTEBOOK_NAMES = frozenset({"display", "get_ipython"})
_MUTATORS = re.compile(
    "add|append|appendleft|clear|discard|extend|insert|pop|popitem|remove|reverse|setdefault|sort|update"
)
_IMPORTS = ast.Import | ast.ImportFrom
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_PLAIN = (_IMPORTS, _DEFINITIONS, ast.Assign, ast.AnnAssign, ast.Pass, ast.If, ast.Try, ast.Raise)


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


@dataclass(slots=True)
class Collector:
    """What travels with one function or class.

    Attributes:
        parts: Statements of the user's own, in the order in which they can run.
        imports: Import statements.
    """

    parts: list[str] = field(default_factory=list[str])
    imports: list[str] = field(default_factory=list[str])
    _owners: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    _begun: set[str] = field(default_factory=set[str])

    def add_import(self, line: str) -> None:
        """Take an import statement along."""
        if line not in self.imports:
            self.imports.append(line)

    def add_part(self, source: str) -> None:
        """Take a statement along."""
        if source not in self.parts:
            self.parts.append(source)

    def claim(self, name: str, source: str, place: str) -> bool:
        """Whether a name is still to be taken along, which this source defines.

        Raises:
            CaptureError: It stands for something else already.
        """
        known = self._owners.setdefault(name, (source, place))
        if known[0] != source:
            places = f"that of {known[1]} and that of {place}"
            raise CaptureError(f"two things that travel are named {name}, {places}: rename one of them")
        if name in self._begun:
            return False
        self._begun.add(name)
        return True

    def lean_on(self, source: str, home: Home, user: str, bound: frozenset[str] = frozenset()) -> None:
        """Take along all that this source reads from outside itself.

        Args:
            source: The source.
            home: Where it stands.
            user: The function that needs it, for messages.
            bound: Names that are there already.

        Raises:
            CaptureError: Something cannot travel; all that nothing defines is named at once.
        """
        tree = ast.parse(source)
        for module in imports_inside(tree):
            if module.startswith(".") or own_file(module) is not None:
                name = module.lstrip(".").split(".")[0] or "a module beside it"
                how = f"import what it needs at the top of its file, `from {module} import ...`"
                raise CaptureError(f"{user} imports {name} inside, a file of this machine: {how}")
        needed, named = names_needed(source)
        missing: list[str] = []
        for name in sorted(needed - bound):
            try:
                self._resolve(name, home, user, tree)
            except LookupError as error:
                missing.append(str(error.args[0]))
        if missing:
            raise CaptureError(
                f"{user} uses {', '.join(missing)}, which the script would not have: define it inside {user}"
            )
        # annotations are not evaluated in a script: what they name comes along if it can, and is no loss if not
        for name in sorted(named - bound):
            before = (list(self.parts), list(self.imports), dict(self._owners), set(self._begun))
            try:
                self._resolve(name, home, user, tree)
            except (CaptureError, LookupError):
                self.parts, self.imports, self._owners, self._begun = before

    def _resolve(self, name: str, home: Home, user: str, tree: ast.AST) -> None:
        """Take along what a name stands for.

        Raises:
            LookupError: Nothing defines it, or nothing that can be found.
            CaptureError: It cannot travel.
        """
        scope = home.scope
        if name not in scope:
            if hasattr(builtins, name) and name not in _NOTEBOOK_NAMES:
                return
            raise LookupError(f"{name} (not defined)")
        if name in ("__name__", "__doc__", "__builtins__"):
            return
        if name == "__file__":
            what = "the place of a file of this machine"
            raise CaptureError(f"{user} uses __file__, {what}: write what it reads into its source")
        value = scope[name]
        if isinstance(value, ModuleType):
            self._module(value, name, user, tree)
            return
        found = _choose(name, value, home)
        if found is None:
            self._without_statement(name, value, home, user)
        elif isinstance(found.leaf, _IMPORTS) and found.leaf is found.top:
            self._imported(name, found.leaf, home, user, tree)
        else:
            self.statement(name, value, found, home, user)

    def _module(self, value: ModuleType, name: str, user: str, tree: ast.AST) -> None:
        if (file := module_file(value)) is not None:
            parts = sorted(item.split(".")[1] for item in chains(tree) if item.startswith(f"{name}."))
            wanted = ", ".join(dict.fromkeys(parts)) or "..."
            what = f"{user} uses {name}, a file of this machine ({Path(file).name}), and no package"
            raise CaptureError(f"{what}: write `from {value.__name__} import {wanted}`, and call {wanted} by that name")
        for line in import_module(value.__name__, name, chains(tree)):
            self.add_import(line)

    def _imported(self, name: str, leaf: ast.Import | ast.ImportFrom, home: Home, user: str, tree: ast.AST) -> None:
        """What an import statement bound, which is no module."""
        member = next((alias.name for alias in leaf.names if (alias.asname or alias.name) == name), name)
        module = leaf.module or "" if isinstance(leaf, ast.ImportFrom) else name
        absolute = _absolute(module, getattr(leaf, "level", 0), home.scope)
        if own_file(absolute) is None:
            self.add_import(f"from {absolute} import {member}" + ("" if member == name else f" as {name}"))
            return
        other = _home_of_module(absolute)
        if other is None or member not in other.scope:
            raise LookupError(name)
        self._resolve(member, other, user, tree)
        self._rename(name, member)

    def _rename(self, name: str, own: str) -> None:
        """Give something that travels one more name."""
        line = f"{name} = {own}\n"
        if name != own and self.claim(name, line, own):
            self.add_part(line)

    def _without_statement(self, name: str, value: Any, home: Home, user: str) -> None:
        """Something that no statement at the top of the file or cell binds."""
        star = next((item for item in _statements(home) if _is_star(item.top)), None)
        if star is not None and not home.is_notebook:
            line = ast.unparse(star.top)
            wanted = line.replace("*", name)
            raise CaptureError(f"{user} uses {name}, which comes from `{line}`: import it by name, `{wanted}`")
        if isinstance(value, FunctionType | type) and is_own(value) and "<locals>" not in value.__qualname__:
            self.definition(name, value, user)
        elif (found := origin(value, home.scope)) is not None:
            self.add_import(f"from {found[0]} import {found[1]}" + ("" if found[1] == name else f" as {name}"))
        else:
            raise LookupError(name)

    def definition(self, name: str, value: FunctionType | type, user: str) -> None:
        """A function or class that is told by itself, not by a name.

        Raises:
            CaptureError: It cannot travel.
            LookupError: It has no source.
        """
        located = find_definition(value)
        if located is None or isinstance(located.node, ast.Lambda):
            raise LookupError(name)
        own, source = located.node.name, located.source
        if self.claim(own, source, _place(located.text, located.node)):
            self._take(own, source, located.node, home_of(value), user)
        self._rename(name, own)

    def statement(self, name: str, value: Any, found: Binding, home: Home, user: str) -> None:
        """A statement that binds a name, with all that it leans on.

        Raises:
            CaptureError: It cannot travel.
        """
        chosen = _movable(name, found, user)
        if isinstance(chosen, _DEFINITIONS):
            function = inspect.unwrap(value) if callable(value) else value
            if isinstance(function, FunctionType | type):
                find_definition(function)  # refuses what has been edited since
        else:
            _refuse_changed(name, value, chosen, found, home, user)
        names = dict.fromkeys(bound for bound, _ in bindings(chosen))
        source = found.text.segment(chosen)
        claimed = [self.claim(bound, source, found.place) for bound in names]
        if all(claimed):
            self._take(name, source, chosen, home, user, frozenset(names))

    def _take(
        self, name: str, source: str, node: ast.stmt, home: Home, user: str, bound: frozenset[str] = frozenset()
    ) -> None:
        check_source(source, name, user)
        refuse_reads(name, [node], home.scope, find_called, user)
        by = name if isinstance(node, _DEFINITIONS) else user
        self.lean_on(source, home, by, bound | {name})
        self.add_part(source)


def check_source(source: str, name: str, user: str) -> None:
    """Refuse source in which a secret of this machine is written out.

    Raises:
        CaptureError: It is.
    """
    if (variable := secret_in(source)) is not None:
        what = f"{user} uses {name}, in which the value of {variable} is written out" if name != user else ""
        what = what or f"the value of {variable} is written out in {user}"
        raise CaptureError(f'{what}: read it inside {user}, `os.environ["{variable}"]`, with secrets=["{variable}"]')


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
    home = _home_of_module(value.__module__)
    if home is None:
        raise LookupError(value.__name__)
    return home


def _home_of_module(name: str) -> Home | None:
    import sys

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
    home = _home_of_module(value.__module__)
    found = _choose(value.__name__, value, home) if home is not None else None
    return Located(found.text, found.leaf) if found and isinstance(found.leaf, ast.ClassDef) else None


def find_called(value: Any) -> tuple[Definition, dict[str, Any]] | None:
    """The definition of something of the user's own that is called, and the names it sees."""
    function = inspect.unwrap(value) if callable(value) else value
    try:
        located = find_definition(function)
        return (located.node, home_of(function).scope) if located else None
    except (CaptureError, LookupError):
        return None


def _absolute(module: str, level: int, scope: dict[str, Any]) -> str:
    if not level:
        return module
    package = str(scope.get("__package__") or "").rsplit(".", level - 1)[0]
    return f"{package}.{module}" if module else package


def _place(text: Text, node: ast.stmt | ast.expr) -> str:
    return f"{Path(text.filename).name}, line {node.lineno}"


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names)


def _statements(home: Home) -> Iterator[Binding]:
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


def _choose(name: str, value: Any, home: Home) -> Binding | None:
    """The statement by which a name has its value; of a notebook's cells the last that can have given it.

    Raises:
        CaptureError: A file assigns it more than once.
    """
    found = find_bindings(name, home)
    tops = {(item.text, item.top.lineno) for item in found}
    if len(tops) < 2:
        return found[-1] if found else None
    if all(isinstance(item.leaf, _IMPORTS) for item in found) or all(
        isinstance(item.leaf, _DEFINITIONS) for item in found
    ):
        function = inspect.unwrap(value) if callable(value) else value
        if isinstance(function, FunctionType) and not isinstance(found[-1].leaf, _IMPORTS):
            node = locate(function).node
            found = [item for item in found if getattr(item.leaf, "lineno", 0) == node.lineno] or found
        return found[-1]
    if not home.is_notebook:
        lines = ", ".join(str(item.leaf.lineno) for item in found)
        where = Path(found[0].text.filename).name
        raise CaptureError(f"{name} is assigned more than once in {where} (lines {lines}): assign it once")
    return next((item for item in reversed(found) if _can_give(item.leaf, value)), found[-1])


def _can_give(leaf: ast.stmt, value: Any) -> bool:
    if isinstance(leaf, _DEFINITIONS):
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


def _movable(name: str, found: Binding, user: str) -> ast.stmt:
    """The statement that travels: the whole one at the top, or of ``if __name__ == ...`` the one inside.

    Raises:
        CaptureError: There is none that could run alone.
    """
    top, leaf = found.top, found.leaf
    if isinstance(top, ast.If) and "__name__" in ast.unparse(top.test):
        top = leaf
    plain = isinstance(leaf, ast.Assign | ast.AnnAssign | _DEFINITIONS | _IMPORTS)
    if not plain or not all(isinstance(item, _PLAIN) for item in _all_statements(top)):
        kind = type(top if plain else leaf).__name__.lower().removeprefix("async")
        what = f"{user} uses {name}, which is set in a statement of kind `{kind}` ({found.place})"
        raise CaptureError(f"{what}: assign it once, by `{name} = ...`")
    return top


def _all_statements(statement: ast.stmt) -> Iterator[ast.stmt]:
    yield statement
    if isinstance(statement, ast.If | ast.Try):
        handlers = [item for handler in getattr(statement, "handlers", ()) for item in handler.body]
        for item in (*statement.body, *statement.orelse, *getattr(statement, "finalbody", ()), *handlers):
            yield from _all_statements(item)


def _refuse_changed(name: str, value: Any, chosen: ast.stmt, found: Binding, home: Home, user: str) -> None:
    """Refuse a name whose value is no longer what its statement says."""
    for item in _statements(home):
        if item.top is not chosen and (line := _changes(name, item.top)):
            where = Path(item.text.filename).name
            what = f"{user} uses {name}, which is changed after its assignment ({where}, line {line})"
            raise CaptureError(f"{what}: write it as one expression")
    known, expected = _literal_of(chosen)
    if known and (type(value) is not type(expected) or value != expected):
        what = f"{user} uses {name}, which is no longer what {found.place} assigns"
        raise CaptureError(f"{what}: assign it anew, or write its value there")


def _changes(name: str, top: ast.stmt) -> int:
    """Line in which a statement changes the value of a name in place; 0 if it does not."""
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
