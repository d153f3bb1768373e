"""Rules about the tools that a model may call."""

from __future__ import annotations

import ast
import builtins
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.environments import Function, parameters_of
from hfjobs_trainer.specs.extras import CallingSpec, environments_in
from hfjobs_trainer.specs.rewards import Code

# How transformers 5.23 reads a docstring, and what it can say in JSON: utils/chat_template_utils.py.
_SECTION = re.compile(r"\n\s*Args:\n(.*?)[\n\s]*(?:Returns:|Raises:|\Z)", re.DOTALL)
_DESCRIBED = re.compile(r"(?:^|\n)([ \t]*)(\w+):\s*(?:.*?)\s*(?=\n(?!\1[ \t])[ \t]*\w+:|\Z)", re.DOTALL)
_JSON = frozenset({"int", "float", "str", "bool", "list", "tuple", "dict"})


@rule("TOOL001", fields=["tools"])
def tools_are_described(context: Context[CallingSpec]) -> Iterator[Found]:  # noqa: D417 - as for every rule
    """The model is told what a tool does.

    What it does:
        Refuses tools, and public methods of environments but `reset` and `get_reward`, without a docstring; with a
        parameter, `*args` and `**kwargs` included, that has no annotation, one of a type that JSON lacks, or no line
        `name: ...` under a line `Args:`; and with an annotation that names something the script would not have, be it
        that of the return value.

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
        yield from _undescribed("tools", tool.name, tool.definition, parameters_of(tool.definition, bound=False), tool)
    for environment in environments_in(context.spec):
        for name, method in environment.tools.items():
            shown = f"{environment.name}.{name}"
            yield from _undescribed(environment.path, shown, method, parameters_of(method), environment.made_by)


@rule("TOOL002", methods=["distillation"])
def tools_of_a_distillation_are_synchronous(context: Context[CallingSpec]) -> Iterator[Found]:
    """Tools of a distillation are synchronous.

    What it does:
        Refuses tools that are defined with `async def` in `hft.Distillation`.

    Why:
        Its trainer refuses them once the model is loaded; GRPO's awaits them.

    Example:
        ```python
        async def search(query: str) -> str: ...
        ```

    Use instead:
        ```python
        def search(query: str) -> str: ...
        ```
    """
    for tool in context.spec.tools:
        if isinstance(tool.definition, ast.AsyncFunctionDef):
            yield Found(
                "tools", f"{tool.name} is async, which DistillationTrainer does not take: define it without async"
            )


@rule("TOOL004", fields=["tools"])
def calls_need_messages(context: Context[CallingSpec]) -> Iterator[Found]:
    """Prompts are messages where a model may call something.

    What it does:
        Refuses tools and environments with prompts that are texts, and with `max_completion_length=None`.

    Why:
        A call is a message, and so is what it returns: TRL asks a completion for its calls, and a text has none. How
        long an answer may be with all its calls is compared with `max_completion_length`. Either is an error at the
        first step, when the model has been loaded and has generated.

    Example:
        ```json
        {"prompt": "What does the blue one cost?"}
        ```

    Use instead:
        ```json
        {"prompt": [{"role": "user", "content": "What does the blue one cost?"}]}
        ```
    """
    spec = context.spec
    acts = any(item.may_call or item.asks for item in environments_in(spec))
    if not spec.tools and not acts:
        return
    what = "environment_factory" if acts else "tools"
    if context.field("max_completion_length", int) is None:
        why = f"{what} needs a bound for an answer with all its calls"
        yield Found("max_completion_length", why, "max_completion_length=512")
    for data in context.datasets:
        if acts and "prompt" not in (data.columns or ("prompt",)):
            continue
        if not need(data.facts.conversational, f"whether the prompts of {data.id} are messages", data.path):
            message = '[{"role": "user", "content": ...}]'
            why = f"the prompts of {data.id} are texts, and calls are made in messages: write each as {message}"
            yield Found(what, why)


@rule("TOOL009", fields=["tools"])
def calls_can_be_read(context: Context[CallingSpec]) -> Iterator[Found]:
    """TRL can read the calls that the model writes.

    What it does:
        Refuses tools and environments with a tokenizer whose chat template is, by its text, none of those of which TRL
        can read calls, and that does not itself say how an answer is read, by its `response_template`. A tokenizer
        without a chat template, and one with several, are left alone.

    Why:
        TRL knows templates by their exact text. With any other it ends once the model is loaded: "Unrecognized chat
        template, failed to add response schema".

    Example:
        ```python
        hft.GRPO(model="HuggingFaceTB/SmolLM2-135M-Instruct", dataset=..., reward_funcs=..., tools=[look])
        ```

    Use instead:
        ```python
        hft.GRPO(model="Qwen/Qwen3-0.6B", dataset=..., reward_funcs=..., tools=[look])
        ```
    """
    spec = context.spec
    if not spec.tools and not any(item.may_call for item in environments_in(spec)):
        return
    field = "processing_class" if spec.processing_class is not None else "model"
    tokenizer = context.facts.processing_class if field == "processing_class" else context.facts.model
    place = spec.tokenizer_source[0]
    if tokenizer is not None and (tokenizer.has_chat_template is False or tokenizer.reads_answers):
        return
    digest = need(tokenizer.template_digest if tokenizer else None, f"the chat template of {place}", field)
    known = _call_templates()
    if digest not in known:
        families = ", ".join(sorted({name.split("_")[0] for name in known.values()}))
        why = f"TRL cannot read calls from answers in the chat template of {place}, only in those of {families}"
        how = "name in processing_class a tokenizer of the same tokens with one of these, or with response_template"
        yield Found(field, f"{why}: take another model, or {how}")


@cache
def _call_templates() -> dict[str, str]:
    """Digests of the chat templates of which TRL can read calls, with its names for them."""
    text = files("hfjobs_trainer.data").joinpath("call_templates.json").read_text(encoding="utf-8")
    return json.loads(text)["templates"]


def _undescribed(path: str, name: str, definition: Function, parameters: list[ast.arg], code: Code) -> Iterator[Found]:
    several = [item for item in (definition.args.vararg, definition.args.kwarg) if item]
    parameters = [*parameters, *several]
    docstring = (ast.get_docstring(definition) or "").strip()
    if not docstring:
        what = "it says what the tool does, and under Args: what it takes"
        # methods are tools unasked
        hidden = f"; the name of a method that the model must not call begins with _, as _{definition.name} does"
        yield Found(path, f"{name} has no docstring: {what}{hidden if '.' in name else ''}")
        return
    described = _described(docstring)
    bare = [parameter.arg for parameter in parameters if parameter.annotation is None]
    silent = [item.arg for item in parameters if item.arg not in described]
    if bare:
        yield Found(path, f"{name} has no type annotation for {', '.join(bare)}, such as `{bare[0]}: str`")
    if silent:
        why = f"the docstring of {name} does not describe {', '.join(silent)}"
        yield Found(path, f"{why}, with a line `{silent[0]}: ...` under a line `Args:`")
    imported = _imported(code) | code.bound
    taken = [item for parameter in parameters for item in _names(parameter.annotation)]
    named = sorted({*taken, *_names(definition.returns)} - imported)
    if unknown := [item for item in named if not hasattr(builtins, item)]:
        why = f"an annotation of {name} names {', '.join(unknown)}, which the script does not define"
        yield Found(path, f"{why}: annotate with built-in types")
    if foreign := sorted({item for item in taken if hasattr(builtins, item)} - imported - _JSON):
        why = f"{name} takes {', '.join(foreign)}, which a model cannot write in JSON"
        yield Found(path, f"{why}: it can write {', '.join(sorted(_JSON))}")


def _described(docstring: str) -> set[str]:
    """The parameters that a docstring describes, as transformers reads it."""
    section = _SECTION.search(docstring)
    lines = [line for line in section[1].split("\n") if line.strip()] if section else []
    return {found[2] for found in _DESCRIBED.finditer("\n".join(lines))}


def _imported(tool: Code) -> set[str]:
    lines = [ast.parse(line).body[0] for line in tool.imports]
    return {
        (alias.asname or alias.name).split(".")[0]
        for line in lines
        if isinstance(line, ast.Import | ast.ImportFrom)
        for alias in line.names
    }


def _names(annotation: ast.AST | None) -> Iterator[str]:
    """Names in an annotation, those in quotes too: unlike those of a reward, they are evaluated."""
    if isinstance(annotation, ast.Name):
        yield annotation.id
    elif isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            quoted = ast.parse(annotation.value.strip(), mode="eval").body
        except (SyntaxError, ValueError):
            yield annotation.value
        else:
            yield from _names(quoted)
    elif isinstance(annotation, ast.Subscript):
        yield from _names(annotation.value)
        outer = ast.unparse(annotation.value).rpartition(".")[2]
        if outer == "Annotated" and isinstance(annotation.slice, ast.Tuple):
            yield from _names(annotation.slice.elts[0])
        elif outer != "Literal":
            yield from _names(annotation.slice)
    elif annotation is not None:
        for part in ast.iter_child_nodes(annotation):
            yield from _names(part)
