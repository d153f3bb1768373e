"""Callables of every kind as one function of a script: what they lean on first, then one ``def``."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from hfjobs_trainer.specs.capture.bound import HOW, expression_of, needs_factory
from hfjobs_trainer.specs.capture.collect import Collector, check_source
from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.homes import (
    Binding,
    Home,
    choose_binding,
    find_bindings,
    find_called,
    find_definition,
    home_of,
    home_of_module,
    refuse_attributes,
)
from hfjobs_trainer.specs.capture.origins import is_own, own_file
from hfjobs_trainer.specs.capture.reads import refuse_reads
from hfjobs_trainer.specs.capture.text import indented, locate
from hfjobs_trainer.specs.capture.values import literal, refuse_secrets


@dataclass(frozen=True, slots=True)
class Captured:
    """A function or class as a script needs it.

    Attributes:
        name: Name under which it is defined.
        source: The statement that defines it.
        imports: Import statements, one a line.
        beside: Statements that it leans on, in the order in which they must run.
    """

    name: str
    source: str
    imports: tuple[str, ...]
    beside: tuple[str, ...]


def capture_callable(value: Callable[..., Any], taken: Collection[str] = ()) -> Captured:
    """A callable as one function of a script.

    Args:
        value: A function, a closure, a ``functools.partial``, a bound method, or an object with ``__call__``.
        taken: Names that others have; one that is made up for this callable is another.

    Raises:
        CaptureError: It cannot travel; the message names what it is.
    """
    try:
        if isinstance(value, type) or inspect.isbuiltin(value) or isinstance(value, ModuleType):
            name = getattr(value, "__qualname__", type(value).__qualname__)
            raise CaptureError(f"{name} is not a plain function: {HOW}")
        if (decorated := _decorated(value)) is not None:
            return decorated
        plain = inspect.unwrap(value)
        if isinstance(plain, FunctionType) and (not plain.__closure__ or _is_decorated(value, plain)):
            if plain.__code__.co_name == "<lambda>" or (plain is value and needs_factory(plain)):
                return _wrapped(value, taken)
            return _plain(plain)
        return _wrapped(value, taken)
    except LookupError as error:
        raise CaptureError(f"the source of {error.args[0]} cannot be found: define it at the top of a file") from None


def capture_class_of(value: type) -> Captured:
    """A class as a script needs it, with its bases that are the user's own.

    Raises:
        CaptureError: It cannot travel; the message names what it is.
    """
    name = value.__name__
    located = find_definition(value)
    if located is None or not isinstance(located.node, ast.ClassDef):
        raise CaptureError(f"the source of {name} cannot be found: define it in a file or a notebook cell")
    inner = {
        item
        for function in vars(value).values()
        if isinstance(function, FunctionType) and function.__code__.co_filename == located.text.filename
        for item in function.__code__.co_freevars
        if item != "__class__"
    }
    if inner:
        raise CaptureError(f"{name} uses {', '.join(sorted(inner))} of the function around it: define it at the top")
    collector = Collector()
    collector.definition(name, value, name)
    return _finished(collector, name, located.source)


def _finished(collector: Collector, name: str, source: str) -> Captured:
    return Captured(name, source, tuple(collector.imports), tuple(part for part in collector.parts if part != source))


def _is_decorated(value: Any, plain: FunctionType) -> bool:
    """Whether a function at the top of its file is what its own statement makes of it."""
    return value is not plain and plain.__globals__.get(plain.__code__.co_name) is value


def _decorated(value: Any) -> Captured | None:
    """What a decorator that hides its function made of a ``def`` at the top of a file, as that statement."""
    if not isinstance(value, FunctionType) or not value.__closure__ or inspect.unwrap(value) is not value:
        return None
    inner = [cell.cell_contents for cell in value.__closure__ if cell != CellType()]
    for function in (value, *(item for item in inner if isinstance(item, FunctionType) and is_own(item))):
        home = home_of(function)
        for name, known in list(home.scope.items()):
            if known is value and len(found := find_bindings(name, home)) == 1 and found[0].leaf is found[0].top:
                (binding,) = found
                if isinstance(binding.leaf, ast.FunctionDef | ast.AsyncFunctionDef):
                    collector = Collector()
                    collector.statement(name, value, binding, home, name)
                    return _finished(collector, name, binding.text.segment(binding.leaf))
    return None


def _plain(function: FunctionType) -> Captured:
    located = locate(function)
    assert isinstance(located.node, ast.FunctionDef | ast.AsyncFunctionDef)
    name, source, home = located.node.name, located.source, home_of(function)
    collector = Collector()
    collector.claim(name, source, located.text.filename)
    check_source(source, name, name)
    refuse_reads(name, [located.node], home.scope, find_called, name)
    refuse_attributes(name, home, name)
    collector.lean_on(source, home, name, frozenset({name}))
    return _finished(collector, name, source)


def _wrapped(value: Any, taken: Collection[str]) -> Captured:
    """Anything that is no function at the top of a file: made by a statement, and called by a function."""
    _refuse_state(value)
    owner, attribute = (value.__self__, f".{value.__name__}") if isinstance(value, MethodType) else (value, "")
    collector, known = Collector(), _known_as(owner)
    base = _name(value, known[0] if known and not attribute else None)
    name, number = base, 1
    while name in taken or (attribute and known and name == known[0]):
        number += 1
        name = f"{base}_{number}"
    called = f"{name}_object" if attribute else f"{name}_call"
    if known is None or known[1] is None:
        collector.add_part(f"{called} = {expression_of(owner, name, collector)}\n")
    else:
        collector.statement(known[0], owner, known[1], known[2], name)
        if known[0] != name:
            called = known[0]
        else:
            made = collector.parts.pop()
            collector.add_part(re.sub(rf"^{re.escape(name)}\b", called, made, count=1))
    return _finished(collector, name, _call(name, f"{called}{attribute}", value))


def _call(name: str, called: str, value: Any) -> str:
    """A function that calls what was made, with the same parameters, and says the same of itself."""
    inner = value
    while isinstance(inner, functools.partial):
        inner = cast("functools.partial[Any]", inner).func
    waits = any(map(inspect.iscoroutinefunction, (inner, inner.__call__)))
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        signature = inspect.Signature([inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])
    parameters = list(signature.parameters.values())
    rest = [f"**{item.name}" for item in parameters if item.kind is item.VAR_KEYWORD]
    named = [item for item in parameters if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]
    # with the rest, what has a default is given on where it is given
    shown = {item.name: _parameter(item, name) for item in named if item.default is item.empty or not rest}
    taken = ", ".join([*(text for text in shown.values() if text), *rest])
    given = ", ".join([*(f"{key}={key}" for key, text in shown.items() if text), *rest])
    start, end = ("async def", "return await") if waits else ("def", "return")
    speaker = inner if isinstance(inner, FunctionType | MethodType | type) else type(inner).__call__
    said = inspect.getdoc(speaker) if speaker.__doc__ else None
    lines = [f'"""{_escaped(said)}"""'] if said else []
    body = indented("\n".join([*lines, f"{end} {called}({given})"]) + "\n", texts=True)
    return f"{start} {name}({taken}){_annotation(' -> ', signature.return_annotation)}:\n{body}"


def _parameter(item: inspect.Parameter, name: str) -> str:
    """A parameter of a call; empty for one whose default cannot be written down, which it then keeps."""
    text = f"{item.name}{_annotation(': ', item.annotation)}"
    if item.default is item.empty:
        return text
    try:
        value = literal(item.default, f"{item.name} of {name}")
    except CaptureError:
        return ""
    return f"{text} = {value}" if ":" in text else f"{text}={value}"


def _annotation(before: str, annotation: Any) -> str:
    """An annotation of built-in types; others would need imports that a call does not."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    plain = isinstance(annotation, str) or (isinstance(annotation, type) and annotation.__module__ == "builtins")
    names = re.findall(r"[A-Za-z_]\w*", text)
    return f"{before}{text}" if plain and all(hasattr(builtins, name) for name in names) and names else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + ("\n" if "\n" in text or text.endswith('"') else "")


def _homes(value: Any) -> Iterator[Home]:
    """The names among which an object may have one: those that it sees, then those of the user's other modules."""
    while isinstance(value, functools.partial):
        value = cast("functools.partial[Any]", value).func
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, MethodType):
        value = value.__self__
    if not isinstance(value, FunctionType):
        value = cast("type[Any]", type(value))
    if is_own(value):
        with suppress(LookupError):
            yield home_of(value)
    for name in sorted(sys.modules, key=lambda module: (module != "__main__", module)):
        if name == "__main__" or own_file(name) is not None:
            home = home_of_module(name)
            if home is not None:
                yield home


def _known_as(value: Any) -> tuple[str, Binding | None, Home] | None:
    """The name of an object at the top of a file or cell, and the assignment that gave it that name alone."""
    for home in _homes(value):
        for name, known in list(home.scope.items()):
            if known is not value or not name.isidentifier() or name.startswith("_"):
                continue
            try:
                found = choose_binding(name, value, home)
            except CaptureError:
                found = None
            # an import gives it the name that it has elsewhere, a loop gives it no name of its own
            if found is not None and isinstance(found.leaf, ast.Assign | ast.AnnAssign):
                return name, found if _is_one(found.leaf) else None, home
    return None


def _is_one(leaf: ast.Assign | ast.AnnAssign) -> bool:
    targets = leaf.targets if isinstance(leaf, ast.Assign) else [leaf.target]
    return len(targets) == 1 and isinstance(targets[0], ast.Name)


def _name(value: Any, known: str | None) -> str:
    """The name of the function that a script has for an object."""
    own = getattr(value, "__dict__", {}).get("__name__")
    if isinstance(own, str) and own.isidentifier() and not isinstance(value, FunctionType):
        return own  # under which TRL logs it
    if known is not None:
        return known
    if isinstance(value, functools.partial):
        return f"{_name(cast('functools.partial[Any]', value).func, None)}_partial"
    name = getattr(value, "__name__", None)
    if name == "<lambda>":
        raise CaptureError(f"a lambda has no name that the script could use: {HOW}")
    if isinstance(name, str) and name.isidentifier() and name != "__call__":
        return name
    owner = value.__self__ if isinstance(value, MethodType) else value
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(owner).__name__).lower()


def _refuse_state(value: Any) -> None:
    """Refuse secrets in what is bound to a callable, however it travels.

    Raises:
        CaptureError: There is one.
    """
    name = getattr(value, "__name__", type(value).__name__)
    if isinstance(value, functools.partial):
        item = cast("functools.partial[Any]", value)
        for index, part in enumerate(item.args):
            refuse_secrets(part, f"argument {index} of functools.partial")
        for key, part in item.keywords.items():
            refuse_secrets(part, f"{key} of functools.partial")
        _refuse_state(item.func)
    elif isinstance(value, MethodType):
        _refuse_state(value.__self__)
    elif isinstance(value, FunctionType):
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                refuse_secrets(cell.cell_contents, f"{variable} of {name}")
            except ValueError as error:
                if isinstance(error, CaptureError):
                    raise
    else:
        for key, part in getattr(value, "__dict__", {}).items():
            refuse_secrets(part, f"{key} of {name}")
