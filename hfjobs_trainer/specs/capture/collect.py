"""What code leans on, collected: statements of the user's own files and cells, and imports, each once and in order."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.homes import (
    DEFINITIONS,
    IMPORTS,
    Binding,
    Home,
    absolute_name,
    choose_binding,
    find_called,
    find_definition,
    home_of,
    home_of_module,
    is_star,
    movable,
    place_of,
    refuse_attributes,
    refuse_changed,
    statements_of,
)
from hfjobs_trainer.specs.capture.names import bindings, names_needed
from hfjobs_trainer.specs.capture.origins import (
    chains,
    import_module,
    imports_inside,
    is_own,
    module_file,
    origin,
    own_file,
    own_members,
    renamed_import,
)
from hfjobs_trainer.specs.capture.reads import refuse_reads, secret_in

# Builtins of a notebook only.
_NOTEBOOK_NAMES = frozenset({"display", "get_ipython"})


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
        for module, line in imports_inside(tree):
            if module.startswith(".") or own_file(module) is not None:
                name = module.lstrip(".").split(".")[0] or "a module beside it"
                how = f"import what it needs at the top of its file, `{line}`"
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
            self._module(value, name, home, user, tree)
            return
        found = choose_binding(name, value, home)
        if found is None:
            self._without_statement(name, value, home, user)
        elif isinstance(found.leaf, IMPORTS) and found.leaf is found.top:
            self._imported(name, found.leaf, home, user, tree)
        else:
            self.statement(name, value, found, home, user)

    def _module(self, value: ModuleType, name: str, home: Home, user: str, tree: ast.AST) -> None:
        if (file := module_file(value)) is not None:
            inside, wanted = own_members(value, name, chains(tree))
            what = f"{user} uses {name}, a file of this machine ({Path(file).name}), and no package"
            raise CaptureError(f"{what}: write `from {inside} import {wanted}`, and call {wanted} by that name")
        found = choose_binding(name, value, home)
        leaf = found.leaf if found is not None else None
        if found is not None and (leaf is not found.top or not isinstance(leaf, IMPORTS)):
            self.statement(name, value, found, home, user)
        elif (line := renamed_import(leaf, name)) is not None:
            self.add_import(line)
        else:
            for line in import_module(value.__name__, name, chains(tree)):
                self.add_import(line)

    def _imported(self, name: str, leaf: ast.Import | ast.ImportFrom, home: Home, user: str, tree: ast.AST) -> None:
        """What an import statement bound, which is no module."""
        member = next((alias.name for alias in leaf.names if (alias.asname or alias.name) == name), name)
        module = leaf.module or "" if isinstance(leaf, ast.ImportFrom) else name
        absolute = absolute_name(module, getattr(leaf, "level", 0), home.scope)
        if own_file(absolute) is None:
            if absolute == "typing" and hasattr(collections.abc, member):
                absolute = "collections.abc"  # from where a script imports it
            self.add_import(f"from {absolute} import {member}" + ("" if member == name else f" as {name}"))
            return
        other = home_of_module(absolute)
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
        star = next((item for item in statements_of(home) if is_star(item.top)), None)
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

    def definition(self, name: str, value: FunctionType | type, user: str, *, bare: bool = False) -> None:
        """A function or class that is told by itself, not by a name; ``bare``: as it is before it is decorated.

        Raises:
            CaptureError: It cannot travel.
            LookupError: It has no source.
        """
        located = find_definition(value)
        if located is None or isinstance(located.node, ast.Lambda):
            raise LookupError(name)
        own, source = located.node.name, located.text.segment(located.node, bare=bare)
        if self.claim(own, source, place_of(located.text, located.node)):
            self._take(own, source, located.node, home_of(value), user)
        self._rename(name, own)

    def statement(self, name: str, value: Any, found: Binding, home: Home, user: str) -> None:
        """A statement that binds a name, with all that it leans on.

        Raises:
            CaptureError: It cannot travel.
        """
        chosen = movable(name, found, user)
        if isinstance(chosen, DEFINITIONS):
            function = inspect.unwrap(value) if callable(value) else value
            if isinstance(function, FunctionType | type):
                find_definition(function)  # refuses what has been edited since
        else:
            refuse_changed(name, value, chosen, found, home, user)
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
        if isinstance(node, DEFINITIONS):
            refuse_attributes(name, home, user)
        by = name if isinstance(node, DEFINITIONS) else user
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
