"""Graders of OpenAI's reinforcement fine-tuning as reward functions of TRL."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Any, cast

_SAMPLE = "{{sample.output_text}}"
_ITEM = re.compile(r"\{\{\s*item\.([A-Za-z_]\w*)\s*\}\}")
_COMPARISONS = {
    "eq": "text == right",
    "ne": "text != right",
    "like": "right in text",
    "ilike": "right.lower() in text.lower()",
}
_TEXTS = 'texts = [item if isinstance(item, str) else item[-1]["content"] for item in completions]'


@dataclass(frozen=True, slots=True)
class Graded:
    """A grader as functions.

    Attributes:
        functions: Name and source of each.
        weights: By how much each counts.
    """

    functions: tuple[tuple[str, str], ...]
    weights: tuple[float, ...] = (1.0,)


def read_grader(grader: Any) -> Graded | str:
    """A grader as functions, or why it cannot be one.

    Args:
        grader: As the job has it.
    """
    given = dict(cast("Mapping[str, Any]", grader)) if isinstance(grader, Mapping) else dict[str, Any]()
    kind = given.get("type")
    if kind != "multi":
        source = _function(given)
        return source if isinstance(source, str) else Graded((source,))
    parts = given.get("graders")
    named = dict(cast("Mapping[str, Any]", parts)) if isinstance(parts, Mapping) else dict[str, Any]()
    weights = _weights(str(given.get("calculate_output", "")), set(named))
    if weights is None or not named:
        return f"the grader adds up {given.get('calculate_output')!r:.80}, which is no weighted sum: write a reward"
    functions: list[tuple[str, str]] = []
    for key in weights:
        found = _function({**named[key], "name": key})
        if isinstance(found, str):
            return found
        functions.append(found)
    return Graded(tuple(functions), tuple(weights.values()))


def _function(grader: Mapping[str, Any]) -> tuple[str, str] | str:
    kind = str(grader.get("type"))
    name = _name(str(grader.get("name") or kind))
    if kind == "string_check":
        return _string_check(name, grader)
    if kind == "python":
        return _python(name, str(grader.get("source", "")))
    return f"a grader of the type {kind} asks a model or a service of OpenAI: write a reward that does it, with secrets"


def _string_check(name: str, grader: Mapping[str, Any]) -> tuple[str, str] | str:
    given, reference, comparison = (grader.get(key) for key in ("input", "reference", "operation"))
    item = _ITEM.fullmatch(str(reference).strip())
    if str(given).replace(" ", "") != _SAMPLE or comparison not in _COMPARISONS:
        return f"the grader {name} compares {given!r:.60} by {comparison}: write a reward that does it"
    if item is None and "{{" in str(reference):
        return f"the grader {name} compares with {reference!r:.60}: write a reward that does it"
    rights = f'columns["{item[1]}"]' if item else f"[{str(reference)!r}] * len(texts)"
    return name, dedent(f"""\
        def {name}(completions, **columns):
            {_TEXTS}
            pairs = zip(texts, {rights}, strict=True)
            return [float({_COMPARISONS[comparison]}) for text, right in pairs]
        """)


def _python(name: str, source: str) -> tuple[str, str] | str:
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return f"the Python of the grader {name} cannot be parsed: {error.msg}, line {error.lineno}"
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "grade" not in defined:
        return f"the Python of the grader {name} has no function grade"
    text = f"def {name}(completions, **columns):\n{indent(source.strip(), '    ')}\n"
    text += indent(
        "\n"
        f"{_TEXTS}\n"
        "rows = [{name: values[index] for name, values in columns.items() if isinstance(values, list)}\n"
        "        for index in range(len(texts))]\n"
        'return [float(grade({"output_text": text}, row)) for text, row in zip(texts, rows, strict=True)]\n',
        "    ",
    )
    inner = ast.parse(text).body[0]
    assert isinstance(inner, ast.FunctionDef)
    # a text of several lines would be another one, indented
    if [ast.dump(node) for node in inner.body[: len(tree.body)]] != [ast.dump(node) for node in tree.body]:
        return f"the Python of the grader {name} has a text of several lines: write it as a reward function"
    return name, text


def _weights(formula: str, names: set[str]) -> dict[str, float] | None:
    """The weights of a weighted sum of these names; ``None`` if the formula is none, or leaves one out."""
    try:
        found = _terms(ast.parse(formula.strip(), mode="eval").body)
    except (SyntaxError, ValueError):
        return None
    return found if found.keys() == names else None


def _terms(node: ast.expr) -> dict[str, float]:
    if isinstance(node, ast.Name):
        return {node.id: 1.0}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        sign = 1.0 if isinstance(node.op, ast.Add) else -1.0
        left, right = _terms(node.left), _terms(node.right)
        if left.keys() & right.keys():
            raise ValueError
        return left | {name: sign * weight for name, weight in right.items()}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        first, second = node.left, node.right
        if isinstance(first, ast.Constant) and isinstance(node.op, ast.Mult):
            first, second = second, first
        if isinstance(second, ast.Constant) and isinstance(second.value, int | float) and second.value:
            factor = second.value if isinstance(node.op, ast.Mult) else 1 / second.value
            return {name: weight * factor for name, weight in _terms(first).items()}
    raise ValueError


def _name(text: str) -> str:
    """A name for a function, made of a grader's."""
    plain = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_") or "grader"
    return plain if plain[0].isalpha() and plain != "grade" else f"grader_{plain}"
