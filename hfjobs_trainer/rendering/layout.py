"""The parts of a script in the order in which they are read, and its calls on one line where they fit."""

from __future__ import annotations

import ast
import builtins
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator
from keyword import iskeyword

from hfjobs_trainer.errors import RenderError
from hfjobs_trainer.rendering.header import write_header, write_spec
from hfjobs_trainer.rendering.literals import LINE_LENGTH, widths
from hfjobs_trainer.rendering.page import Header
from hfjobs_trainer.rendering.paste import import_lines, names_read, paste

_RULE = "# " + 86 * "-"
BANNER = f"""\
{_RULE}
# What follows is the same in every script that needs it, and need not be read.
{_RULE}"""

_STANDARD = {"partial": "functools"}
"""Where in the standard library what templates call by its bare name is from."""

_OPENING, _CLOSING = "([{", ")]}"


def lay_out(
    header: Header, docstring: str, program: str, start: str, imports: Iterable[str], choices: Iterable[str]
) -> str:
    """The whole script.

    Args:
        header: What the first and the last block say.
        docstring: The docstring, as source.
        program: Constants, the user's functions and ``main``.
        start: What stands at the end and starts ``main``.
        imports: Import statements that the user's functions need.
        choices: Runtime blocks that are taken where several define a name.

    Raises:
        RenderError: The program reads a name that nothing defines.
    """
    program, start = program.strip("\n"), fold(start.strip("\n"))
    tree = ast.parse(program)
    first, end = _lines_of(tree, "main")
    lines = program.split("\n")
    main = fold("\n".join(lines[first:end]))
    program = "\n".join([*lines[:first], main, *lines[end:]])
    names = [*names_read(start), *names_read(main)]
    runtime = paste(names, choices)
    bound = runtime.names | _bound(tree) | names_at_top([start, *imports])
    missing = [name for name in dict.fromkeys(names) if name not in bound and not hasattr(builtins, name)]
    standard = [standard_import(name) for name in missing]
    top = import_lines([*runtime.imports, *standard], list(imports))
    opening = "\n\n".join([docstring.strip("\n"), "from __future__ import annotations", top, program])
    end = "\n\n".join([start, write_spec(header)])
    below = "\n\n".join([BANNER, runtime.constants]) if runtime.constants else BANNER
    return "\n\n\n".join([f"{write_header(header)}\n{opening}", below, runtime.source, end]) + "\n"


def standard_import(name: str) -> str:
    """The statement by which a template's own code gets something of the standard library.

    Raises:
        RenderError: It has nothing of this name.
    """
    if name in _STANDARD:
        return f"from {_STANDARD[name]} import {name}"
    if name not in sys.stdlib_module_names:
        raise RenderError(f"nothing defines {name}, which the script reads")
    return f"import {name}"


def source_of(module: str, name: str) -> str:
    """Source of a function at the top of a module."""
    return "\n".join(module.split("\n")[slice(*_lines_of(ast.parse(module), name))])


def _lines_of(module: ast.Module, name: str) -> tuple[int, int]:
    """First line of a function, from 0, and the line after it."""
    found = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found[-1].lineno - 1, found[-1].end_lineno or 0


def names_at_top(sources: Iterable[str]) -> set[str]:
    """Names that modules define or import at their top."""
    return {name for source in sources for name in _bound(ast.parse(source))}


def _bound(module: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def fold(source: str) -> str:
    """Source with calls and containers on one line where they fit, or all arguments of a call on a line of their own.

    Only those are looked at that end in a comma: ``ruff format`` leaves these on several lines, one item a line, and
    any others as they are written here.
    """
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    closings = dict(_pairs(tokens))
    pieces: list[str] = []
    done = index = 0
    while index < len(tokens):
        end = closings.get(index)
        if end is not None and tokens[index].start[0] < tokens[end].end[0]:
            (row, column), (last, behind) = tokens[index].start, tokens[end].end
            joined = _joined(tokens[index : end + 1])
            whole = lines[row - 1][:column] + (joined or "") + lines[last - 1][behind:].rstrip("\n")
            if joined is not None and not _fits(whole):
                margin = lines[row - 1][: len(lines[row - 1]) - len(lines[row - 1].lstrip())]
                inner = f"{margin}    {joined[1:-1]}"
                before = tokens[index - 1]
                is_call = before.type == tokenize.NAME and not iskeyword(before.string)
                # however wide a formatter takes its characters to be, they do not fit into one line
                is_call = is_call and widths(whole)[0] > LINE_LENGTH
                joined = f"{joined[0]}\n{inner}\n{margin}{joined[-1]}" if is_call and _fits(inner) else None
            if joined is not None:
                pieces += [source[done : starts[row - 1] + column], joined]
                done, index = starts[last - 1] + behind, end
        index += 1
    return "".join([*pieces, source[done:]])


def _fits(line: str) -> bool:
    return widths(line)[1] <= LINE_LENGTH


def _pairs(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[int, int]]:
    """Indices of brackets that belong together."""
    opened: list[int] = []
    for index, token in enumerate(tokens):
        if token.type == tokenize.OP and token.string in _OPENING:
            opened.append(index)
        elif token.type == tokenize.OP and token.string in _CLOSING:
            yield opened.pop(), index


def _joined(tokens: list[tokenize.TokenInfo]) -> str | None:
    """Bracketed source on one line; ``None`` where it has a comment, or does not end in a comma."""
    kept = [token for token in tokens if token.type != tokenize.NL]
    if kept[-2].string != "," or any(token.type == tokenize.COMMENT or "\n" in token.string for token in kept):
        return None
    text, before = "", kept[0]
    for token, after in zip(kept, [*kept[1:], None], strict=True):
        last_comma = token.string == "," and after is not None and after.string in _CLOSING
        # the comma of a tuple of one stays: it is on one line already
        if last_comma and after is not None and token.end[0] != after.start[0]:
            continue
        if token.start[0] != before.end[0]:
            gap = "" if before.string in _OPENING or token.string in _CLOSING else " "
        else:
            gap = " " * (token.start[1] - before.end[1])
        text += gap + token.string
        before = token
    return text
