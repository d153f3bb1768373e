"""What is bound to a callable: values as literals, functions and classes by the names under which they travel."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from dataclasses import fields, is_dataclass
from enum import Enum
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

from hfjobs_trainer.specs.capture.collect import Collector, check_source
from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.homes import Home, home_of
from hfjobs_trainer.specs.capture.origins import is_own, module_file, origin
from hfjobs_trainer.specs.capture.text import indented, locate
from hfjobs_trainer.specs.capture.values import literal

HOW = "write it as `def reward(completions, **kwargs): ...`"


def expression_of(value: Any, name: str, collector: Collector) -> str:
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
    if isinstance(value, type):
        return _reference(value, name, collector)
    return _instance(value, name, collector)


def _closure(function: FunctionType, name: str, collector: Collector) -> str:
    """A call of a function around the closure that binds what it had bound."""
    located = locate(function)
    if isinstance(located.node, ast.Lambda):
        raise CaptureError(f"a lambda has no name that the script could use: {HOW}")
    assert isinstance(located.node, ast.FunctionDef | ast.AsyncFunctionDef)
    home, own, source = home_of(function), located.node.name, located.text.segment(located.node, bare=True)
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
    factory = f"make_{own}"
    made = f"def {factory}({', '.join(bound)}):\n{indented(source)}\n    return {own}\n"
    collector.lean_on(made, home, name, frozenset({factory}))
    if collector.claim(factory, made, located.text.filename):
        collector.add_part(made)
    return f"{factory}({', '.join(f'{key}={text}' for key, text in bound.items())})"


def _defaults(
    function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef, home: Home, name: str, collector: Collector
) -> dict[str, str]:
    """Names that only the defaults of a nested function read from the function around it, with their values."""
    return {
        key: _bound(value, f"{key} of {name}", collector)
        for key, value in _outer_defaults(function, node, home).items()
    }


def _outer_defaults(function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef, home: Home) -> dict[str, Any]:
    arguments, given = node.args, function.__kwdefaults__ or {}
    pairs = [*zip(arguments.defaults, function.__defaults__ or (), strict=False)]
    by_name = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    pairs += [(item, given.get(argument.arg)) for argument, item in by_name if item is not None]
    return {item.id: value for item, value in pairs if isinstance(item, ast.Name) and item.id not in home.scope}


def needs_factory(function: FunctionType) -> bool:
    """Whether the defaults of a function are names of the function around it."""
    if "<locals>" not in function.__qualname__:
        return False
    node = locate(function).node
    return not isinstance(node, ast.Lambda | ast.ClassDef) and bool(_outer_defaults(function, node, home_of(function)))


def _instance(value: Any, name: str, collector: Collector) -> str:
    """An object of a class of the user's own, by its class and its state."""
    kind = cast("type[Any]", type(value))
    if not is_own(kind):
        raise CaptureError(f"{name} is a {kind.__module__}.{kind.__qualname__}, which cannot travel: {HOW}")
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
    made = kind.__init__
    if made is object.__init__ and kind.__new__ is object.__new__:
        return None if state else []
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
    if isinstance(value, Enum):
        return f"{_reference(type(value), where, collector)}.{value.name}"
    if is_own(type(value)) and not isinstance(value, str | int | float | tuple | list | dict):
        return expression_of(value, where.partition(" ")[0], collector)
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
        if name == "<lambda>" and plain.__closure__ is None:
            located = locate(plain)
            text = located.source.strip()
            collector.lean_on(f"({text})", home_of(plain), where)
            return f"({text})"
        if plain is value and plain.__closure__ is None:
            collector.definition(name, plain, name, bare=True)
            return name
        if plain is value:
            return _closure(plain, name, collector)
    if isinstance(value, functools.partial):
        return expression_of(value, where.partition(" ")[0], collector)
    if isinstance(value, type) and is_own(value):
        collector.definition(value.__name__, value, value.__name__)
        return value.__name__
    if isinstance(value, ModuleType) and module_file(value) is None:
        collector.add_import(f"import {value.__name__}")
        return value.__name__
    if (found := origin(value, {})) is not None:
        if found[0] == "builtins":
            return found[1]
        collector.add_import(f"from {found[0]} import {found[1]}")
        return found[1]
    if isinstance(value, MethodType):
        return f"{expression_of(value.__self__, where.partition(' ')[0], collector)}.{value.__name__}"
    kind = cast("type[Any]", type(value))
    raise CaptureError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot travel: {HOW}")
