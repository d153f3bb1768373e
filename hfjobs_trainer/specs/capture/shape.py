"""Callables of every kind as one function of a script: what they lean on first, then one ``def``."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, is_dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

from hfjobs_trainer.specs.capture.collect import (
    Collector,
    Home,
    check_source,
    find_bindings,
    find_definition,
    home_of,
)
from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.origins import is_own, origin
from hfjobs_trainer.specs.capture.text import indented, locate
from hfjobs_trainer.specs.capture.values import literal, refuse_secrets

_HOW = "write it as `def reward(completions, **kwargs): ...`"


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
            raise CaptureError(f"{name} is not a plain function: {_HOW}")
        plain = inspect.unwrap(value)
        if isinstance(plain, FunctionType) and (not plain.__closure__ or _is_decorated(value, plain)):
            if plain.__name__ == "<lambda>":
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
        if isinstance(function, FunctionType)
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


def _plain(function: FunctionType) -> Captured:
    located = locate(function)
    assert isinstance(located.node, ast.FunctionDef | ast.AsyncFunctionDef)
    name, source, home = located.node.name, located.source, home_of(function)
    collector = Collector()
    collector.claim(name, source, located.text.filename)
    check_source(source, name, name)
    collector.lean_on(source, home, name, frozenset({name}))
    return _finished(collector, name, source)


def _wrapped(value: Any, taken: Collection[str]) -> Captured:
    """Anything that is no function at the top of a file: made by a statement, and called by a function."""
    _refuse_state(value)
    owner, attribute = (value.__self__, f".{value.__name__}") if isinstance(value, MethodType) else (value, "")
    collector, home = Collector(), _home(owner)
    known = _global_name(owner, home)
    base = _name(value, known if not attribute else None)
    name, number = base, 1
    while name in taken or (name == known and attribute):
        number += 1
        name = f"{base}_{number}"
    if known is not None and known != name and home is not None:
        (found,) = find_bindings(known, home)
        collector.statement(known, owner, found, home, name)
        called = known
    else:
        called = f"{name}_call" if not attribute else f"{name}_object"
        if known is not None and home is not None:
            (found,) = find_bindings(known, home)
            collector.statement(known, owner, found, home, name)
            made = collector.parts.pop()
            collector.add_part(re.sub(rf"^{re.escape(known)}\b", called, made, count=1))
        else:
            collector.add_part(f"{called} = {_expression(owner, name, collector)}\n")
    return _finished(collector, name, _call(name, f"{called}{attribute}", value))


def _call(name: str, called: str, value: Any) -> str:
    """A function that calls what was made, with the same parameters."""
    inner = value
    while isinstance(inner, functools.partial):
        inner = cast("functools.partial[Any]", inner).func
    waits = any(map(inspect.iscoroutinefunction, (inner, inner.__call__)))
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        parameters = [inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)]
    rest = next((item.name for item in parameters if item.kind is item.VAR_KEYWORD), None)
    named = [item for item in parameters if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]
    # with the rest, what has a default is given on where it is given
    shown = [item.name for item in named if item.default is item.empty or rest is None]
    taken = ", ".join([*shown, *([f"**{rest}"] if rest else [])])
    given = ", ".join([*(f"{item}={item}" for item in shown), *([f"**{rest}"] if rest else [])])
    start, end = ("async def", "return await") if waits else ("def", "return")
    return f"{start} {name}({taken}):\n    {end} {called}({given})\n"


def _home(value: Any) -> Home | None:
    """The names among which an object was made."""
    while isinstance(value, functools.partial):
        value = cast("functools.partial[Any]", value).func
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, MethodType):
        value = value.__self__
    if not isinstance(value, FunctionType):
        value = type(value)
    if not is_own(value):
        return None
    try:
        return home_of(value)
    except LookupError:
        return None


def _global_name(value: Any, home: Home | None) -> str | None:
    """The name that one assignment at the top of a file or cell gave to an object."""
    if home is None:
        return None
    for name, known in list(home.scope.items()):
        if known is value and name.isidentifier() and not name.startswith("_"):
            found = find_bindings(name, home)
            if len(found) == 1 and isinstance(found[0].leaf, ast.Assign | ast.AnnAssign) and _is_one(found[0].leaf):
                return name
    return None


def _is_one(leaf: ast.Assign | ast.AnnAssign) -> bool:
    targets = leaf.targets if isinstance(leaf, ast.Assign) else [leaf.target]
    return len(targets) == 1 and isinstance(targets[0], ast.Name)


def _name(value: Any, known: str | None) -> str:
    """The name of the function that a script has for an object."""
    if known is not None:
        return known
    if isinstance(value, functools.partial):
        return f"{_name(cast('functools.partial[Any]', value).func, None)}_partial"
    name = getattr(value, "__name__", None)
    if name == "<lambda>":
        raise CaptureError(f"a lambda has no name that the script could use: {_HOW}")
    if isinstance(name, str) and name.isidentifier() and name != "__call__":
        return name
    owner = value.__self__ if isinstance(value, MethodType) else value
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(owner).__name__).lower()


def _expression(value: Any, name: str, collector: Collector) -> str:
    """An expression that makes a value of what travels."""
    if isinstance(value, functools.partial):
        item = cast("functools.partial[Any]", value)
        inner = _reference(item.func, f"what {name} calls", collector)
        given = [_bound(part, f"argument {index} of {name}", collector) for index, part in enumerate(item.args)]
        given += [f"{key}={_bound(part, f'{key} of {name}', collector)}" for key, part in item.keywords.items()]
        collector.add_import("import functools")
        return f"functools.partial({', '.join([inner, *given])})"
    if isinstance(value, FunctionType):
        return _closure(value, name, collector)
    return _instance(value, name, collector)


def _closure(function: FunctionType, name: str, collector: Collector) -> str:
    """A call of a function around the closure that binds what it had bound."""
    located = locate(function)
    if isinstance(located.node, ast.Lambda):
        raise CaptureError(f"a lambda has no name that the script could use: {_HOW}")
    assert isinstance(located.node, ast.FunctionDef | ast.AsyncFunctionDef)
    home, own, source = home_of(function), located.node.name, located.source
    check_source(source, own, name)
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    bound: dict[str, str] = {}
    for variable, cell in cells.items():
        try:
            content = cell.cell_contents
        except ValueError:
            raise CaptureError(f"{name} uses {variable} of the function around it, which has no value yet") from None
        if content is not function:
            bound[variable] = _bound(content, f"{variable} of {name}", collector)
    bound |= _defaults(function, located.node, home, name, collector)
    collector.lean_on(source, home, name, frozenset({*cells, *bound, own}))
    factory = f"make_{own}"
    made = f"def {factory}({', '.join(bound)}):\n{indented(source)}\n    return {own}\n"
    if collector.claim(factory, made, located.text.filename):
        collector.add_part(made)
    return f"{factory}({', '.join(f'{key}={text}' for key, text in bound.items())})"


def _defaults(
    function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef, home: Home, name: str, collector: Collector
) -> dict[str, str]:
    """Names that only the defaults of a nested function read from the function around it, with their values."""
    arguments = node.args
    pairs = [*zip(arguments.defaults, function.__defaults__ or (), strict=False)]
    given = function.__kwdefaults__ or {}
    pairs += [
        (item, given.get(arg.arg))
        for arg, item in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if item
    ]
    return {
        item.id: _bound(value, f"{item.id} of {name}", collector)
        for item, value in pairs
        if isinstance(item, ast.Name) and item.id not in home.scope
    }


def _instance(value: Any, name: str, collector: Collector) -> str:
    """An object of a class of the user's own, by its class and its state."""
    kind = type(value)
    if not is_own(kind):
        raise CaptureError(f"{name} is a {kind.__module__}.{kind.__qualname__}, which cannot travel: {_HOW}")
    if "<locals>" in kind.__qualname__ or "." in kind.__qualname__:
        raise CaptureError(f"{kind.__name__}, the class of {name}, is defined inside something: define it at the top")
    collector.definition(kind.__name__, kind, name)
    slots = {slot for base in kind.__mro__ for slot in _slots(base)} - {"__dict__", "__weakref__"}
    state = dict(getattr(value, "__dict__", {})) | {
        slot: getattr(value, slot) for slot in slots if hasattr(value, slot)
    }
    texts = {key: _bound(item, f"{key} of {name}", collector) for key, item in state.items()}
    if is_dataclass(value) and not hasattr(value, "__post_init__"):
        known = fields(value)
        if {item.name for item in known} == state.keys() and all(item.init for item in known):
            return f"{kind.__name__}({', '.join(f'{item.name}={texts[item.name]}' for item in known)})"
    if (given := _arguments(kind, state)) is not None:
        return f"{kind.__name__}({', '.join(f'{key}={texts[key]}' for key in given)})"
    collector.add_part(
        "def restore(kind, **state):\n"
        "    made = kind.__new__(kind)\n"
        "    for name, value in state.items():\n"
        "        object.__setattr__(made, name, value)\n"
        "    return made\n"
    )
    return f"restore({', '.join([kind.__name__, *(f'{key}={text}' for key, text in texts.items())])})"


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _arguments(kind: type, state: dict[str, Any]) -> list[str] | None:
    """The arguments of a constructor that does nothing but keep each under its own name."""
    made = vars(kind).get("__init__")
    if not isinstance(made, FunctionType) or made.__code__.co_freevars:
        return None
    node = locate(made).node
    assert isinstance(node, ast.FunctionDef)
    names = [item.arg for item in (*node.args.args[1:], *node.args.kwonlyargs)]
    kept = {f"{node.args.args[0].arg}.{item} = {item}" for item in names}
    said = {ast.unparse(item) for item in node.body}
    plain = not (node.args.vararg or node.args.kwarg or node.args.posonlyargs)
    return names if plain and said == kept and set(names) == state.keys() else None


def _bound(value: Any, where: str, collector: Collector) -> str:
    """A bound value: a literal, or the name of something that travels."""
    if isinstance(value, ModuleType | FunctionType | type | functools.partial | MethodType) or inspect.isbuiltin(value):
        return _reference(value, where, collector)
    if is_own(type(value)) and not isinstance(value, str | int | float | tuple | list | dict):
        return _expression(value, where.partition(" ")[0], collector)
    if isinstance(value, re.Pattern):
        collector.add_import("import re")
    return literal(value, where)


def _reference(value: Any, where: str, collector: Collector) -> str:
    """The name of a function, class or module that travels."""
    plain = inspect.unwrap(value) if callable(value) else value
    if isinstance(plain, FunctionType) and is_own(plain):
        name = plain.__code__.co_name
        if "<locals>" not in plain.__qualname__ and plain.__globals__.get(name) is value and name != "<lambda>":
            collector.definition(name, plain, name)
            return name
        if plain is value and plain.__closure__ is None and name != "<lambda>" and "<locals>" in plain.__qualname__:
            collector.definition(name, plain, name)
            return name
        if plain is value:
            return _closure(plain, name, collector)
    if isinstance(value, functools.partial):
        return _expression(value, where.partition(" ")[0], collector)
    if isinstance(value, type) and is_own(value):
        collector.definition(value.__name__, value, value.__name__)
        return value.__name__
    if isinstance(value, ModuleType) and not is_own_module(value):
        collector.add_import(f"import {value.__name__}")
        return value.__name__
    if (found := origin(value, {})) is not None:
        if found[0] == "builtins":
            return found[1]
        collector.add_import(f"from {found[0]} import {found[1]}")
        return found[1]
    if isinstance(value, MethodType):
        return f"{_expression(value.__self__, where.partition(' ')[0], collector)}.{value.__name__}"
    kind = type(value)
    raise CaptureError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot travel: {_HOW}")


def is_own_module(value: ModuleType) -> bool:
    """Whether a module is a file of the user's own."""
    from hfjobs_trainer.specs.capture.origins import module_file

    return module_file(value) is not None


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
