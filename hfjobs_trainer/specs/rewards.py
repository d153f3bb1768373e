"""Functions of the user's own, rewards and tools: held as source text from the moment a spec is built.

They may be defined anywhere, a notebook cell included. They travel into the script as they were written, with what they
lean on: functions, classes and constants beside them, and imports. What cannot travel is refused by name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Annotated, Any, ClassVar, TypeVar, cast

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from hfjobs_trainer.specs.args_base import Deferred
from hfjobs_trainer.specs.capture import Captured, capture_callable, capture_class_of
from hfjobs_trainer.specs.capture.names import bound_names, parsed
from hfjobs_trainer.specs.given import kind_of, reading


@dataclass(frozen=True, slots=True)
class BuiltinReward:
    """A reward that TRL brings: arguments of its factory if it is one, and the packages it needs."""

    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    packages: tuple[str, ...] = ()


# The names and the arguments of TRL's own command line (trl/scripts/grpo.py).
BUILTIN_REWARDS: dict[str, BuiltinReward] = {
    "accuracy_reward": BuiltinReward(packages=("math-verify",)),
    "reasoning_accuracy_reward": BuiltinReward(packages=("math-verify",)),
    "think_format_reward": BuiltinReward(),
    "get_soft_overlong_punishment": BuiltinReward({"max_completion_len": 1280, "soft_punish_cache": 256}),
}


class Code(Deferred):
    """Source of something of the user's own, as a script needs it.

    Attributes:
        name: Name under which it is defined.
        source: The statement that defines it, dedented, decorators included.
        imports: Import statements it needs, one a line.
        beside: Statements that it leans on, in the order in which they run: functions, classes and assignments.
    """

    _KINDS: ClassVar[tuple[tuple[type[ast.stmt], ...], str]] = ((), "one definition")

    name: str
    source: str
    imports: list[str] = Field(default=[])
    beside: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _is_one_definition(self) -> Code:
        kinds, what = self._KINDS
        try:
            body = parsed(self.source).body
            imports = [parsed(line).body for line in self.imports]
            beside = [parsed(part).body for part in self.beside]
        except (SyntaxError, ValueError):
            raise ValueError(f"the source of {self.name!r} is not valid Python") from None
        if len(body) != 1 or not isinstance(body[0], kinds) or getattr(body[0], "name", None) != self.name:
            raise ValueError(f"the source of {self.name!r} must be {what} of that name")
        if not all(len(line) == 1 and _is_plain_import(line[0]) for line in imports):
            raise ValueError(f"the imports of {self.name!r} must be import statements, neither relative nor with *")
        if not all(len(part) == 1 and isinstance(part[0], _BESIDE) for part in beside):
            raise ValueError(f"what stands beside {self.name!r} must be functions, classes and assignments, one each")
        texts = (self.source, *self.beside)
        if any("\r" in text for text in texts) or not self.name.isascii():
            raise ValueError(f"the source of {self.name!r} must have plain line ends and a name in ASCII")
        if any(re.search(r"^# ///", text, re.MULTILINE) for text in texts):
            raise ValueError(
                f"the source of {self.name!r} has a line that begins with '# ///', which marks a script's header"
            )
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """All statements of the script, in their order, the definition last."""
        return (*self.beside, self.source)

    @property
    def bound(self) -> frozenset[str]:
        """Names that these statements bind at the top of the script."""
        return frozenset(name for text in self.sources for name in bound_names(text))

    @property
    def modules(self) -> frozenset[str]:
        """Top-level names of the modules that it cannot do without, imported inside and outside its functions."""
        nodes = [node for text in (*self.imports, *self.sources) for node in _unguarded(parsed(text))]
        plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        return frozenset(
            name.split(".")[0]
            for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        )


class RewardFunction(Code):
    """A Python function as a script needs it: a reward, or a tool."""

    _KINDS: ClassVar[tuple[tuple[type[ast.stmt], ...], str]] = ((ast.FunctionDef, ast.AsyncFunctionDef), "one function")

    @property
    def definition(self) -> ast.FunctionDef | ast.AsyncFunctionDef:
        """The function, parsed."""
        function = parsed(self.source).body[0]
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        return function

    @property
    def takes_any_keyword(self) -> bool:
        """Whether the signature ends in ``**kwargs``; TRL passes every column of the dataset by keyword."""
        return self.definition.args.kwarg is not None


class CapturedClass(Code):
    """A Python class as a script needs it."""

    _KINDS: ClassVar[tuple[tuple[type[ast.stmt], ...], str]] = ((ast.ClassDef,), "one class")

    @property
    def definition(self) -> ast.ClassDef:
        """The class, parsed."""
        kind = parsed(self.source).body[0]
        assert isinstance(kind, ast.ClassDef)
        return kind


C = TypeVar("C", bound=Code)

_BESIDE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If, ast.Try)


def _is_plain_import(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return not statement.level and all(alias.name != "*" for alias in statement.names)
    return isinstance(statement, ast.Import)


def _unguarded(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but what stands in a ``try`` that is ready for a module that is missing."""
    if isinstance(node, ast.Try) and any(_expects_absence(handler) for handler in node.handlers):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _unguarded(child)


def _expects_absence(handler: ast.ExceptHandler) -> bool:
    text = ast.unparse(handler.type) if handler.type else "Exception"
    return any(name in text for name in ("ImportError", "ModuleNotFoundError", "Exception"))


def capture(function: Callable[..., Any], taken: frozenset[str] = frozenset()) -> RewardFunction:
    """Take a function's source, what it leans on, and the imports it needs.

    A closure, a ``functools.partial``, a bound method and an object with ``__call__`` become a function that calls what
    is made before it: under the name that they have at the top of their file or notebook, if they have one.

    Args:
        function: The function, or any other callable.
        taken: Names that other functions of the spec have; a name that is made up is another.

    Raises:
        ValueError: It or what it leans on cannot travel, or its source cannot be found; the message names it.
    """
    with reading(f"the source of this {kind_of(function)}", ValueError):
        return _checked(RewardFunction, capture_callable(function, taken))


def capture_class(kind: type) -> CapturedClass:
    """Take a class's source, with its bases that are the user's own, what they lean on, and the imports they need.

    Raises:
        ValueError: As for ``capture``.
    """
    with reading("the source of this class", ValueError):
        return _checked(CapturedClass, capture_class_of(kind))


def _checked(kind: type[C], found: Captured) -> C:
    more = {"beside": list(found.beside)} if found.beside else {}
    try:
        return kind(name=found.name, source=found.source, imports=list(found.imports), **more)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _as_list(value: Any) -> Any:
    items = list(cast("list[Any]", value)) if isinstance(value, list | tuple) else [value]
    taken: set[str] = set()
    for index, item in enumerate(items):
        if callable(item):
            items[index] = item = capture(item, frozenset(taken))
        if isinstance(item, RewardFunction):
            taken |= item.bound
    return items


def is_lambda(value: object) -> bool:
    """Whether a value is a function without a name."""
    return isinstance(value, FunctionType) and value.__name__ == "<lambda>"


def _as_function(value: Any) -> Any:
    if is_lambda(value):
        raise ValueError("a lambda has no name that the script could use: write it as `def convert(row): return ...`")
    return capture(value) if callable(value) else value


RowFunction = Annotated[
    RewardFunction, BeforeValidator(_as_function, json_schema_input_type=Callable[..., Any] | dict[str, Any])
]
"""A function of one row as a spec holds it."""

Reward = str | RewardFunction
RewardFuncs = Annotated[
    list[Reward],
    Field(min_length=1),
    BeforeValidator(_as_list, json_schema_input_type=str | Callable[..., Any] | list[str | Callable[..., Any]]),
]
"""Rewards as a spec holds them; one alone is taken as a list of one."""

ToolFuncs = Annotated[
    list[RewardFunction],
    BeforeValidator(_as_list, json_schema_input_type=Callable[..., Any] | list[Callable[..., Any]]),
]
"""Tools as a spec holds them: Python functions."""
