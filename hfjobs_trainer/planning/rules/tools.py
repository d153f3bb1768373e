"""Rules about the tools that a model may call."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.rewards import RewardFunction


@rule("TOOL001", methods=["grpo", "distillation"])
def tools_are_described(context: Context[Any]) -> Iterator[Found]:  # noqa: D417 - as for every rule
    """The model is told what a tool does.

    What it does:
        Refuses tools without a docstring, with a parameter that has no annotation or is not described under `Args:`,
        and with an annotation that names something the script would not have.

    Why:
        What the model sees of a tool is made of its annotations and its docstring. transformers raises an error where
        one of them is missing, once the model is loaded.

    Example:
        ```python
        def add(a, b):
            return a + b
        ```

    Use instead:
        ```python
        def add(a: int, b: int) -> int:
            \"\"\"Add two numbers.

            Args:
                a: The first.
                b: The second.
            \"\"\"
            return a + b
        ```
    """  # noqa: D214 - the example has a docstring of its own
    for tool in context.spec.tools:
        definition = ast.parse(tool.source).body[0]
        assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
        arguments = definition.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        described = (ast.get_docstring(definition) or "").partition("Args:")
        if not described[0].strip():
            yield Found("tools", f"{tool.name} has no docstring", "say what it does, and under Args: what it takes")
            continue
        bare = [parameter.arg for parameter in parameters if parameter.annotation is None]
        silent = [item.arg for item in parameters if not _describes(described[2], item.arg)]
        if bare:
            fix = f"{bare[0]}: str, or whatever it is"
            yield Found("tools", f"{tool.name} does not say of what type {', '.join(bare)} is", fix)
        if silent:
            why = f"the docstring of {tool.name} does not describe {', '.join(silent)}"
            yield Found("tools", why, f"a line `{silent[0]}: ...` under Args:")
        if unknown := _unknown(tool, parameters):
            why = f"an annotation of {tool.name} names {', '.join(unknown)}, which the script would not have"
            yield Found("tools", why, "annotate with built-in types")


def _describes(section: str, name: str) -> bool:
    return any(line.strip().startswith((f"{name}:", f"{name} (")) for line in section.splitlines())


def _unknown(tool: RewardFunction, parameters: list[ast.arg]) -> list[str]:
    """Names in the annotations that nothing gives: unlike those of a reward, they are evaluated."""
    lines = [ast.parse(line).body[0] for line in tool.imports]
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for line in lines
        if isinstance(line, ast.Import | ast.ImportFrom)
        for alias in line.names
    }
    found = [
        node.id
        for item in parameters
        if item.annotation
        for node in ast.walk(item.annotation)
        if isinstance(node, ast.Name)
    ]
    return sorted({name for name in found if name not in imported and not hasattr(builtins, name)})
