"""Runtime blocks: plain modules of ``rendering/runtime`` whose source goes into the scripts that need them."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_PACKAGE = "hfjobs_trainer.rendering.runtime"


@dataclass(frozen=True, slots=True)
class Block:
    """A runtime block as it is pasted.

    Attributes:
        name: Name of its module.
        needs: Blocks that it calls.
        imports: Import statements it needs at the top of the script.
        source: Its code, without docstring and imports.
    """

    name: str
    needs: tuple[str, ...]
    imports: tuple[str, ...]
    source: str


@cache
def runtime_block(name: str) -> Block:
    """Read a block from its module."""
    text = files(_PACKAGE).joinpath(f"{name}.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    needs: list[str] = []
    imports: list[str] = []
    first = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            needs.append((node.module or "").rsplit(".", 1)[-1])
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
                imports.append(ast.unparse(node))
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(item.lineno for item in decorators)]) - 1
            break
    while first > 0 and lines[first - 1].startswith("#") and not lines[first - 1].startswith("# needs:"):
        first -= 1
    return Block(name, tuple(needs), tuple(imports), "\n".join(lines[first:]).strip("\n"))


def runtime_blocks(names: Iterable[str]) -> list[Block]:
    """The blocks and all that they call, each once, callers first."""
    found: dict[str, Block] = {}
    queue = list(names)
    while queue:
        name = queue.pop(0)
        if name not in found:
            found[name] = runtime_block(name)
            queue += found[name].needs
    return list(found.values())


def import_lines(*groups: Sequence[str] | Sequence[Sequence[str]], width: int = 88) -> str:
    """Import statements merged and sorted: the standard library first, as isort would; lines of ``width`` at most."""
    statements: list[str] = []
    for group in groups:
        for item in group:
            statements += [item] if isinstance(item, str) else list(item)
    plain: set[str] = set()
    members: dict[str, set[str]] = {}
    for statement in statements:
        node = ast.parse(statement).body[0]
        if isinstance(node, ast.Import):
            plain |= {ast.unparse(alias) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            members.setdefault(node.module or "", set()).update(ast.unparse(alias) for alias in node.names)
    sections: list[str] = []
    for standard in (True, False):
        lines = [f"import {name}" for name in sorted(plain) if _is_standard(name) is standard]
        modules = [module for module in sorted(members) if _is_standard(module) is standard]
        lines += [_from_line(module, sorted(members[module], key=_member_key), width) for module in modules]
        if lines:
            sections.append("\n".join(lines))
    return "\n\n".join(sections)


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
