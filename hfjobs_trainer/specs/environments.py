"""Environments in which a model acts: classes and functions of the user's own, and what their source says of them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, ValidationError

from hfjobs_trainer.specs.capture.names import parsed
from hfjobs_trainer.specs.given import reading
from hfjobs_trainer.specs.rewards import CapturedClass, Code, RewardFunction, capture, capture_class, is_lambda

Function = ast.FunctionDef | ast.AsyncFunctionDef

# What TRL calls itself; every other public method is a tool (TRL 1.16: trainer/grpo_trainer.py).
RESET, GET_REWARD = "reset", "get_reward"

# Bases and decorators of a class that give it no method that is called.
_PLAIN_BASES = frozenset({"object", "ABC", "abc.ABC", "Generic", "typing.Generic", "Protocol", "typing.Protocol"})
_DATACLASS = frozenset({"dataclass", "dataclasses.dataclass"})
# With these a method is no function of the class, which is all that TRL looks at.
_NO_FUNCTION = frozenset(
    {"property", "classmethod", "cached_property", "functools.cached_property", "abstractproperty"}
)
_SAME_FUNCTION = frozenset({"staticmethod", "abstractmethod", "abc.abstractmethod", "override", "typing.override"})


def _captured(value: Any) -> Any:
    if isinstance(value, Mapping) and not _is_code(value := cast("Mapping[Any, Any]", value)):
        if not value:
            raise ValueError("names no environment")
        return {name: _taken(item) for name, item in value.items()}
    return _taken(value)


def _taken(value: Any) -> Any:
    with reading("what makes an environment", ValueError):
        return _one(value)


def _is_code(value: Mapping[Any, Any]) -> bool:
    """Whether this is the form that a class or function has in JSON, and no mapping of names."""
    return {"name", "source"} <= value.keys() and all(isinstance(value[name], str) for name in ("name", "source"))


def _one(value: Any) -> Any:
    if isinstance(value, Code):
        return value
    if isinstance(value, type):
        return capture_class(value)
    if is_lambda(value):
        raise ValueError("a lambda has no name that the script could use: write it as `def make(): return ...`")
    kind = cast("type[Any]", type(value))
    if callable(value) and not hasattr(kind, RESET):
        return capture(value)
    if isinstance(value, Mapping):
        # told apart here, so that what is wrong with one is not told of the other
        written = {name: item for name, item in cast("Mapping[Any, Any]", value).items() if isinstance(name, str)}
        begins = str(written.get("source", "")).lstrip()
        is_class = begins.startswith("class ") or (begins.startswith("@") and "\nclass " in begins)
        try:
            return (CapturedClass if is_class else RewardFunction)(**written)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    name = kind.__name__
    if hasattr(kind, RESET):
        raise ValueError(f"takes the class {name}, or a function that makes one, not one of its instances")
    raise ValueError(f"takes a class, a function that makes an instance, or a dict of these by name, not {name}")


_FORMS: dict[type[ast.expr], str] = {
    ast.Tuple: "a tuple",
    ast.Dict: "a dict",
    ast.DictComp: "a dict",
    ast.Set: "a set",
    ast.SetComp: "a set",
    ast.List: "a list",
    ast.ListComp: "a list",
    ast.JoinedStr: "a text",
}

Factory = CapturedClass | RewardFunction
EnvironmentFactory = Annotated[
    CapturedClass | RewardFunction | Annotated[dict[str, CapturedClass | RewardFunction], Field(min_length=1)],
    BeforeValidator(_captured, json_schema_input_type=Callable[..., Any] | dict[str, Callable[..., Any]]),
]
"""Environments as a spec holds them: a class, a function that makes an instance of one, or several of these by name."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What makes an environment, and what its source says of it.

    Attributes:
        path: Field of the spec, with the name of the environment if there are several.
        made_by: The class, or the function that makes an instance.
        kind: The class; ``None`` where the source of a function does not say for certain what it returns.
        methods: The methods that TRL finds, by name, those of bases among them; ``None`` for what is a function, but
            not by its source alone.
        whole: Whether these are all: no base and no decorator is unknown.
    """

    path: str
    made_by: Factory
    kind: ast.ClassDef | None
    methods: Mapping[str, Function | None]
    whole: bool

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.kind.name if self.kind else self.made_by.name

    @property
    def reset(self) -> Function | None:
        """The method ``reset``, if it is known."""
        return self.methods.get(RESET)

    @property
    def tools(self) -> dict[str, Function]:
        """The methods that the model may call, by name."""
        return {
            name: method
            for name, method in self.methods.items()
            if method is not None and not name.startswith("_") and name not in (RESET, GET_REWARD)
        }

    @property
    def may_call(self) -> bool:
        """Whether the model may call something, as far as is known."""
        return not self.whole or any(
            not name.startswith("_") and name not in (RESET, GET_REWARD) for name in self.methods
        )

    @property
    def rewards(self) -> bool | None:
        """Whether it scores what is done in it; ``None`` where its source does not say."""
        return True if GET_REWARD in self.methods else False if self.whole else None

    @property
    def asks(self) -> bool:
        """Whether ``reset`` may return what the model is to read, so that rows need no prompt."""
        if RESET not in self.methods or self.reset is None:
            return RESET in self.methods or not self.whole
        return any(not is_none(value) for value in returned(self.reset))


def environments_of(factory: EnvironmentFactory | None) -> list[Environment]:
    """The environments of a spec, one for each name."""
    if factory is None:
        return []
    field = "environment_factory"
    named = (
        {f"{field}.{name}": item for name, item in factory.items()} if isinstance(factory, dict) else {field: factory}
    )
    return [_environment(path, item) for path, item in named.items()]


def factories_of(factory: EnvironmentFactory | None) -> list[Factory]:
    """The classes and functions that make environments, each once."""
    found: list[Factory] = []
    for item in factory.values() if isinstance(factory, dict) else [factory]:
        if item is not None and item not in found:
            found.append(item)
    return found


def self_of(method: Function) -> str | None:
    """The name under which a method knows its instance; ``None`` for a static one."""
    parameters = [*method.args.posonlyargs, *method.args.args]
    static = any(ast.unparse(item) == "staticmethod" for item in method.decorator_list)
    return None if static or not parameters else parameters[0].arg


def parameters_of(method: Function, *, bound: bool = True) -> list[ast.arg]:
    """The parameters of a function, of a method without its instance; ``*args`` and ``**kwargs`` are not among them.

    Args:
        method: The function.
        bound: Whether it is a method.
    """
    arguments = method.args
    plain = [*arguments.posonlyargs, *arguments.args]
    return [*(plain[1:] if bound and self_of(method) is not None else plain), *arguments.kwonlyargs]


def required_of(function: Function, parameters: list[ast.arg]) -> list[str]:
    """The names of those of its parameters that have no default."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    bare = plain[: len(plain) - len(arguments.defaults)]
    bare += [item for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None]
    names = {item.arg for item in bare}
    return [item.arg for item in parameters if item.arg in names]


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """All nodes of a function but those of functions inside it."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo = [*ast.iter_child_nodes(node), *todo]


def returned(function: Function) -> list[ast.expr | None]:
    """What the ``return`` statements of a function return; nothing where it has none."""
    return [node.value for node in own_nodes(function) if isinstance(node, ast.Return)] or [None]


def is_none(value: ast.expr | None) -> bool:
    """Whether an expression is ``None``, or is not there."""
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def kind_of(value: ast.expr | None) -> str:
    """What an expression is for certain; empty where that is not told by its form."""
    if is_none(value):
        return "nothing"
    if isinstance(value, ast.Constant):
        constant = value.value
        if isinstance(constant, bool):
            return "a truth value"
        return "a text" if isinstance(constant, str) else "a number" if isinstance(constant, int | float) else ""
    return next((kind for form, kind in _FORMS.items() if isinstance(value, form)), "")


def made_with(environment: Environment) -> list[str]:
    """What must be given to make an instance, which TRL does not: names of parameters without a default."""
    if isinstance(environment.made_by, RewardFunction):
        function = environment.made_by.definition
        return required_of(function, parameters_of(function, bound=False))
    init = environment.methods.get("__init__")
    if init is not None:
        return required_of(init, parameters_of(init))
    assert environment.kind is not None
    if not environment.whole or not any(_decorator(item) in _DATACLASS for item in environment.kind.decorator_list):
        return []
    fields = [item for item in environment.kind.body if isinstance(item, ast.AnnAssign) and item.value is None]
    return [
        item.target.id
        for item in fields
        if isinstance(item.target, ast.Name) and "ClassVar" not in ast.unparse(item.annotation)
    ]


def _environment(path: str, code: Factory) -> Environment:
    classes = {node.name: node for text in code.sources for node in parsed(text).body if isinstance(node, ast.ClassDef)}
    kind = code.definition if isinstance(code, CapturedClass) else _made_class(code, classes)
    if kind is None:
        return Environment(path, code, None, {}, whole=False)
    methods: dict[str, Function | None] = {}
    whole = _add_methods(kind, classes, methods)
    return Environment(path, code, kind, methods, whole)


def _add_methods(kind: ast.ClassDef, classes: Mapping[str, ast.ClassDef], methods: dict[str, Function | None]) -> bool:
    """Add what a class defines and then what its bases do; whether that is all that it has."""
    whole = not kind.keywords and all(_decorator(item) in _DATACLASS for item in kind.decorator_list)
    hidden: set[str] = set()
    own: dict[str, Function | None] = {}
    for item in kind.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {_decorator(part) for part in item.decorator_list}
            own.pop(item.name, None)
            hidden.discard(item.name)
            if decorators & _NO_FUNCTION or any(name.endswith((".setter", ".deleter")) for name in decorators):
                hidden.add(item.name)
            else:
                own[item.name] = item if decorators <= _SAME_FUNCTION else None
        elif isinstance(item, ast.Assign | ast.AnnAssign):
            targets = item.targets if isinstance(item, ast.Assign) else [item.target]
            for name in (target.id for target in targets if isinstance(target, ast.Name) and item.value is not None):
                own.pop(name, None)
                if _may_be_function(item):
                    own[name] = None
                else:
                    hidden.add(name)
        elif not isinstance(item, ast.Expr | ast.Pass | ast.ClassDef):
            whole = False
    for name, method in own.items():
        methods.setdefault(name, method)
    for base in kind.bases:
        plain = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(plain, ast.Name) and plain.id in classes and plain.id != kind.name:
            inherited: dict[str, Function | None] = {}
            whole = _add_methods(classes[plain.id], classes, inherited) and whole
            for name, method in inherited.items():
                if name not in hidden:
                    methods.setdefault(name, method)
        elif ast.unparse(plain) not in _PLAIN_BASES:
            whole = False
    return whole


def _may_be_function(item: ast.Assign | ast.AnnAssign) -> bool:
    return isinstance(item.value, ast.Name | ast.Attribute | ast.Lambda | ast.Call)


def _made_class(function: RewardFunction, classes: Mapping[str, ast.ClassDef]) -> ast.ClassDef | None:
    """The class of which a function returns a new instance, whatever it returns."""
    made = {
        target.id: node.value
        for source in function.beside
        for node in parsed(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    definition = function.definition
    local = {
        target.id: node.value
        for node in own_nodes(definition)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = {_class_called(value, classes, made, local) for value in returned(definition)}
    name = found.pop() if len(found) == 1 else None
    return classes.get(name) if name else None


def _class_called(
    value: ast.expr | None,
    classes: Mapping[str, ast.ClassDef],
    made: Mapping[str, ast.expr],
    local: Mapping[str, ast.expr],
) -> str | None:
    if isinstance(value, ast.Name):
        value = local.get(value.id)
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
        return None
    called = value.func.id
    bound = made.get(called)
    if isinstance(bound, ast.Call) and ast.unparse(bound.func) in ("partial", "functools.partial") and bound.args:
        first = bound.args[0]
        called = first.id if isinstance(first, ast.Name) else called
    return called if called in classes else None


def _decorator(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)
