"""Reward functions of the user's own: held as source text from the moment a spec is built.

A function may be defined anywhere, a notebook cell included. It travels into the script as it was written, with the
imports it needs. What a script on another machine would not have (a variable beside the function, another function of
the notebook, a module of one's own) is refused by name.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from hfjobs_trainer.specs.args_base import Deferred

# Modules beside the standard library that the dependencies of every script bring, by import name.
INSTALLED = frozenset(
    [
        "accelerate",
        "datasets",
        "filelock",
        "fsspec",
        "huggingface_hub",
        "jinja2",
        "numpy",
        "packaging",
        "pandas",
        "peft",
        "psutil",
        "pyarrow",
        "regex",
        "safetensors",
        "tokenizers",
        "torch",
        "tqdm",
        "trackio",
        "transformers",
        "trl",
        "yaml",
    ]
)


# Builtins of a notebook only.
_NOTEBOOK_NAMES = frozenset({"display", "get_ipython"})


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


class RewardFunction(Deferred):
    """A Python function as a script needs it.

    Attributes:
        name: Name under which it is defined.
        source: Its ``def`` statement, dedented, decorators included.
        imports: Import statements it needs, one a line.
    """

    name: str
    source: str
    imports: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _is_one_function(self) -> RewardFunction:
        try:
            body = ast.parse(self.source).body
            imports = [ast.parse(line).body for line in self.imports]
        except (SyntaxError, ValueError):
            raise ValueError(f"the source of {self.name!r} is not valid Python") from None
        if (
            len(body) != 1
            or not isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef)
            or body[0].name != self.name
        ):
            raise ValueError(f"the source of {self.name!r} must be one function of that name")
        if not all(len(line) == 1 and _is_plain_import(line[0]) for line in imports):
            raise ValueError(f"the imports of {self.name!r} must be import statements, neither relative nor with *")
        if "\r" in self.source or not self.name.isascii():
            raise ValueError(f"the source of {self.name!r} must have plain line ends and a name in ASCII")
        if re.search(r"^# ///", self.source, re.MULTILINE):
            raise ValueError(
                f"the source of {self.name!r} has a line that begins with '# ///', which marks a script's header"
            )
        return self

    @property
    def takes_any_keyword(self) -> bool:
        """Whether the signature ends in ``**kwargs``; TRL passes every column of the dataset by keyword."""
        function = ast.parse(self.source).body[0]
        return isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.args.kwarg is not None

    @property
    def modules(self) -> frozenset[str]:
        """Top-level names of the modules that it imports, inside and outside its body."""
        nodes = [node for text in (*self.imports, self.source) for node in ast.walk(ast.parse(text))]
        plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        return frozenset(
            name.split(".")[0]
            for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        )


def _is_plain_import(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return not statement.level and all(alias.name != "*" for alias in statement.names)
    return isinstance(statement, ast.Import)


def capture(function: Callable[..., Any]) -> RewardFunction:
    """Take a function's source and the imports it needs.

    Raises:
        ValueError: It is not a plain function, its source cannot be found, or it depends on something that the script
            would not have; the message names it.
    """
    function = inspect.unwrap(function)  # a decorator's wrapper has the source of what it wraps, but names of its own
    if not isinstance(function, FunctionType):
        why = "is not a plain function: write it as `def reward(completions, **kwargs): ...`"
        raise ValueError(f"{getattr(function, '__qualname__', None) or type(function).__qualname__} {why}")
    name = function.__name__
    if name == "<lambda>":
        why = "a lambda has no name that the script could use"
        raise ValueError(f"{why}: write it as `def reward(completions, **kwargs): ...`")
    try:
        source = _read(function)
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        raise ValueError(f"the source of {name} cannot be found: define it in a file or a notebook cell") from None
    if function.__closure__:
        captured = ", ".join(function.__code__.co_freevars)
        raise ValueError(f"{name} uses {captured} from the enclosing function: define it inside {name}")
    needed = free_names(ast.unparse(_without_annotations(ast.parse(source))))
    imports, missing = _resolve(sorted(needed), function.__globals__, name, tree)
    # annotations are never evaluated in a script: what they name is imported if it can be, and no loss if not
    imports += _resolve(sorted(free_names(ast.unparse(tree)) - needed), function.__globals__, name, tree)[0]
    if missing:
        raise ValueError(f"{name} uses {', '.join(missing)}, which the script would not have: define it inside {name}")
    try:
        return RewardFunction(name=name, source=source, imports=imports)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _read(function: FunctionType) -> str:
    """Source of a function, taken out of whatever stands around it."""
    lines = inspect.getsource(function).replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    if not margin:
        return "\n".join(lines) + "\n"
    # text that goes over several lines keeps its own margin, which is part of the value
    inside: set[int] = set()
    depth, first = 0, 0
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
        kind = tokenize.tok_name[token.type]
        if kind == "STRING":
            inside |= set(range(token.start[0] + 1, token.end[0] + 1))
        elif kind.endswith("_START"):  # f-strings are several tokens since Python 3.12
            depth, first = depth + 1, first if depth else token.start[0]
        elif kind.endswith("_END"):
            depth -= 1
            if not depth:
                inside |= set(range(first + 1, token.end[0] + 1))
    return "".join(
        (line if number in inside else line.removeprefix(margin) if line.startswith(margin) else line.lstrip()) + "\n"
        for number, line in enumerate(lines, 1)
    )


def _resolve(names: list[str], scope: dict[str, Any], function: str, tree: ast.AST) -> tuple[list[str], list[str]]:
    imports: list[str] = []
    missing: list[str] = []
    for name in names:
        if name == function or (name not in scope and hasattr(builtins, name) and name not in _NOTEBOOK_NAMES):
            continue
        value = scope.get(name)
        if isinstance(value, ModuleType):
            imports += _import_module(value.__name__, name, tree)
        elif name in scope and (origin := _origin(value, scope)):
            imports.append(f"from {origin[0]} import {origin[1]}" + (f" as {name}" if origin[1] != name else ""))
        elif name not in scope:
            missing.append(f"{name} (not defined)")
        else:
            missing.append(name)
    return imports, missing


def _is_module(name: str) -> bool:
    return getattr(sys.modules.get(name), "__name__", None) == name  # os.path goes by another name


def _import_module(module: str, name: str, tree: ast.AST) -> list[str]:
    if module == name:
        # `import xml` alone does not bring xml.etree, which `import xml.etree` did where the function was written
        chains = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        parts = {chain for chain in chains if chain.startswith(f"{name}.") and _is_module(chain)}
        deepest = {part for part in parts if not any(other.startswith(f"{part}.") for other in parts)}
        return [f"import {part}" for part in sorted(deepest)] or [f"import {module}"]
    parent, _, leaf = module.rpartition(".")
    renamed = f" as {name}" if leaf != name else ""
    return [f"from {parent} import {leaf}{renamed}" if parent else f"import {module} as {name}"]


def _origin(value: Any, scope: dict[str, Any]) -> tuple[str, str] | None:
    """Module and name from which a function or class can be imported; ``None`` if it is defined beside the function."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in {"__main__", scope.get("__name__")}:
        return None
    return (module, name) if getattr(sys.modules.get(module), name, None) is value else None


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


class _Strip(ast.NodeTransformer):
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


def _without_annotations(tree: ast.AST) -> ast.AST:
    return _Strip().visit(tree)


def _as_list(value: Any) -> Any:
    items = list(cast("list[Any]", value)) if isinstance(value, list | tuple) else [value]
    return [capture(item) if callable(item) else item for item in items]


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
