"""Names: which ones code takes from outside itself, and which ones its statements bind."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache


def free_names(source: str) -> set[str]:
    """Names that the code reads from outside itself."""
    import symtable

    def globals_of(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            if (symbol.is_referenced() and symbol.is_global()) or symbol.is_declared_global():
                yield symbol.get_name()
        for child in table.get_children():
            yield from globals_of(child)

    module = symtable.symtable(source, "<reward>", "exec")
    top = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced() and not symbol.is_assigned()}
    inner = {name for child in module.get_children() for name in globals_of(child)}
    return top | inner


def names_needed(source: str) -> tuple[set[str], set[str]]:
    """Names that the code must find when it runs, and those that only its annotations name."""
    needed = free_names(ast.unparse(_Strip().visit(ast.parse(source))))
    return needed, free_names(source) - needed


class _Strip(ast.NodeTransformer):
    """No annotations: a script evaluates none."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node


def bindings(statement: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """Names that a statement binds, each with the innermost statement that does; ``"*"`` for a star import."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name, statement
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name.split(".")[0], statement) for alias in statement.names)
        return
    if isinstance(statement, ast.AnnAssign) and statement.value is None:
        return
    inside = [*_blocks(statement)]
    for node in _outside(statement, inside):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id, statement
    for block in inside:
        yield from bindings(block)


def _blocks(statement: ast.stmt) -> Iterator[ast.stmt]:
    for field in ("body", "orelse", "finalbody"):
        yield from getattr(statement, field, ())
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield from part.body


def _outside(node: ast.AST, inside: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes of a statement but its blocks and what has names of its own."""
    for child in ast.iter_child_nodes(node):
        if child not in inside and not isinstance(child, ast.Lambda):
            yield child
            yield from _outside(child, inside)


@lru_cache(maxsize=512)
def parsed(source: str) -> ast.Module:
    """The source, parsed once; nobody changes it.

    Raises:
        SyntaxError: It is no Python.
        ValueError: As before, for what holds a NUL.
    """
    return ast.parse(source)


@lru_cache(maxsize=512)
def bound_names(source: str) -> frozenset[str]:
    """Names that code binds at its top."""
    return frozenset(name for statement in parsed(source).body for name, _ in bindings(statement))


def is_for_type_checkers(statement: ast.stmt) -> bool:
    """Whether it is ``if TYPE_CHECKING:``."""
    return isinstance(statement, ast.If) and ast.unparse(statement.test).rpartition(".")[2] == "TYPE_CHECKING"


def evaluated(*nodes: ast.AST) -> Iterator[ast.AST]:
    """All that runs when statements run: no body of a function, and no annotation."""
    for node in nodes:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from evaluated(*node.decorator_list, *_defaults(node.args))
        elif isinstance(node, ast.Lambda):
            yield from evaluated(*_defaults(node.args))
        elif isinstance(node, ast.AnnAssign):
            yield from evaluated(node.target, *([node.value] if node.value else []))
        else:
            yield from evaluated(*ast.iter_child_nodes(node))


def _defaults(arguments: ast.arguments) -> Iterable[ast.expr]:
    return (*arguments.defaults, *(item for item in arguments.kw_defaults if item is not None))
