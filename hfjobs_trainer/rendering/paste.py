"""Runtime blocks: plain modules of ``rendering/runtime``, of which a script gets the functions that it calls."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

from hfjobs_trainer.specs.capture.names import free_names

_PACKAGE = "hfjobs_trainer.rendering.runtime"

# Of the blocks whose names begin so, a script has one at most; each does the same in another way.
ALTERNATIVES = ("relaunch_", "track_", "evaluate_", "reload_")


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or constant at the top of a runtime block.

    Attributes:
        name: Its name.
        source: Its source, with the comments above it.
        is_constant: Whether it is neither function nor class.
        reads: Names that it takes from outside itself, in the order in which it does.
        bases: Names of the classes that it is made from, which must be there before it.
    """

    name: str
    source: str
    is_constant: bool
    reads: tuple[str, ...]
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A runtime block.

    Attributes:
        name: Name of its module.
        definitions: What it defines, by name.
        imports: Import statements by the name that each binds.
        needs: Names that it takes from other blocks, each with its block.
    """

    name: str
    definitions: dict[str, Definition]
    imports: dict[str, str]
    needs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Pasted:
    """What goes into a script.

    Attributes:
        names: What it defines and imports.
        imports: Import statements that it needs at the top of the script.
        constants: The constants, one below the other.
        source: Functions and classes, callers first, but a class after its base.
    """

    names: frozenset[str]
    imports: tuple[str, ...]
    constants: str
    source: str


_STRING = re.compile(r'""".*?"""', re.DOTALL)
_DEFINED = re.compile(r"^(?:(?:def|class) (\w+)|(\w+) = )", re.MULTILINE)
_WORD = re.compile(r"[^\W\d]\w*")


@cache
def block_names() -> tuple[str, ...]:
    """Names of all runtime blocks."""
    return tuple(sorted(path.stem for path in Path(str(files(_PACKAGE))).glob("[a-z]*.py")))


@cache
def _text(name: str) -> str:
    return files(_PACKAGE).joinpath(f"{name}.py").read_text(encoding="utf-8")


def defined_names(name: str) -> list[str]:
    """What a block defines, told by how its lines begin: most blocks are then never parsed."""
    return [found[1] or found[2] for found in _DEFINED.finditer(_STRING.sub("", _text(name)))]


@cache
def runtime_block(name: str) -> Block:
    """Read a block from its module."""
    text = _text(name)
    lines = text.splitlines()
    block = Block(name, {}, {}, {})
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith(_PACKAGE):
                block.needs.update((alias.name, module.rsplit(".", 1)[-1]) for alias in node.names)
            else:
                block.imports.update(_statements(node, module))
        elif (defined := _defined(node)) is not None:
            definition = isinstance(node, ast.FunctionDef | ast.ClassDef)
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)] if definition else [node.lineno])
            while lines[first - 2].startswith("#"):
                first -= 1
            source = "\n".join(lines[first - 1 : node.end_lineno])
            bases = [base.id for base in getattr(node, "bases", ()) if isinstance(base, ast.Name)]
            block.definitions[defined] = Definition(defined, source, not definition, names_read(source), tuple(bases))
    return block


def _statements(node: ast.Import | ast.ImportFrom, module: str) -> list[tuple[str, str]]:
    """Names that an import statement binds, each with the statement for it alone."""
    start = f"from {module} import" if isinstance(node, ast.ImportFrom) else "import"
    return [((alias.asname or alias.name).split(".")[0], f"{start} {ast.unparse(alias)}") for alias in node.names]


def _defined(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else None


def names_read(source: str) -> tuple[str, ...]:
    """Names that source takes from outside itself, in the order in which it has these words."""
    outside = free_names(source)
    return tuple(dict.fromkeys(word for word in _WORD.findall(source) if word in outside))


def paste(names: Iterable[str], choices: Iterable[str] = ()) -> Pasted:
    """What defines these names, with all that it calls, each once and callers first.

    Args:
        names: Names that the script reads; those that no block defines are passed over.
        choices: The blocks that are taken where several define a name, such as ``"track_wandb"``.
    """
    owners = _owners(tuple(choices))
    return _paste(tuple((owners[name], name) for name in dict.fromkeys(names) if name in owners))


@cache
def _owners(choices: tuple[str, ...]) -> dict[str, str]:
    """The block that defines each name."""
    common = [name for name in block_names() if not name.startswith(ALTERNATIVES)]
    return {name: block for block in (*common, *choices) for name in defined_names(block)}


@lru_cache(maxsize=256)
def _paste(called: tuple[tuple[str, str], ...]) -> Pasted:
    """What these definitions are and call, remembered: many scripts call the same ones."""
    order: list[tuple[str, str]] = []
    seen: set[tuple[str, str]] = set()

    def visit(found: Sequence[tuple[str, str]]) -> None:
        # a caller is put before all that it calls, which is there already
        for key in reversed(found):
            if key not in seen:
                seen.add(key)
                visit(_used(key))
                order.insert(0, key)

    visit(called)
    for key in [key for key in reversed(order) if _definition(key).bases]:
        bases = [order.index(base) for base in _used(key) if base[1] in _definition(key).bases]
        order.insert(max([order.index(key), *bases]), order.pop(order.index(key)))
    constants, others = [
        [_definition(key).source for key in order if _definition(key).is_constant is wanted] for wanted in (True, False)
    ]
    imports = {
        statement: bound
        for block, name in order
        for bound, statement in runtime_block(block).imports.items()
        if bound in _definition((block, name)).reads
    }
    names = frozenset((*imports.values(), *(name for _, name in order)))
    return Pasted(names, tuple(imports), "\n".join(constants), "\n\n\n".join(others))


def _definition(key: tuple[str, str]) -> Definition:
    return runtime_block(key[0]).definitions[key[1]]


def _used(key: tuple[str, str]) -> list[tuple[str, str]]:
    """What a definition reads of the runtime blocks."""
    block = runtime_block(key[0])
    found = [(block.needs.get(name, block.name), name) for name in _definition(key).reads]
    return [item for item in found if item[1] in block.needs or item[1] in block.definitions]


def import_lines(*groups: Sequence[str] | Sequence[Sequence[str]], width: int = 88) -> str:
    """Import statements merged and sorted: the standard library first, as isort would; lines of ``width`` at most."""
    statements: list[str] = []
    for group in groups:
        for item in group:
            statements += [item] if isinstance(item, str) else list(item)
    plain: set[str] = set()
    members: dict[str, set[str]] = {}
    for module, names in map(_imported, statements):
        if module is None:
            plain |= names
        else:
            members.setdefault(module, set()).update(names)
    sections: list[str] = []
    for standard in (True, False):
        lines = [f"import {name}" for name in sorted(plain) if _is_standard(name) is standard]
        modules = [module for module in sorted(members) if _is_standard(module) is standard]
        lines += [_from_line(module, sorted(members[module], key=_member_key), width) for module in modules]
        if lines:
            sections.append("\n".join(lines))
    return "\n\n".join(sections)


@lru_cache(maxsize=1024)
def _imported(statement: str) -> tuple[str | None, frozenset[str]]:
    """Module and members of an import statement; of a plain one ``None`` and the modules."""
    node = ast.parse(statement).body[0]
    assert isinstance(node, ast.Import | ast.ImportFrom)
    names = frozenset(ast.unparse(alias) for alias in node.names)
    return (node.module or "" if isinstance(node, ast.ImportFrom) else None), names


def _from_line(module: str, names: list[str], width: int) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= width:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _member_key(name: str) -> tuple[int, str]:
    # constants, then classes, then functions
    return (0 if re.fullmatch(r"[A-Z0-9_]+", name) else 1 if name[:1].isupper() else 2, name)


def _is_standard(name: str) -> bool:
    return name.split(".")[0].split(" ")[0] in sys.stdlib_module_names
