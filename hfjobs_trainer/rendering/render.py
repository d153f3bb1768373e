"""The Jinja environment: a page in, the text of a script out.

Values reach a template only through the literal writers. ``finalize`` turns whatever a template prints into a Python
literal, unless it is ``Markup``, which only this module makes, of text that is source already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.contents import split_pin
from hfjobs_trainer.errors import RenderError
from hfjobs_trainer.rendering import literals
from hfjobs_trainer.rendering.card import fill_card
from hfjobs_trainer.rendering.layout import lay_out
from hfjobs_trainer.rendering.page import Page, Reward
from hfjobs_trainer.rendering.paste import block_names, import_lines
from hfjobs_trainer.rendering.places import template_folder
from hfjobs_trainer.rendering.wrapper import Wrapper

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment


def render_script(page: Page) -> str:
    """The script of a page, formatted.

    Raises:
        RenderError: A template is wrong, which is a defect of this package.
    """
    parts = fill_page(page)
    nodes = "relaunch_nodes" if page.nodes > 1 else "relaunch_several" if page.downloads else "relaunch"
    saved = "reload_adapter" if page.saves_adapter else "reload_model"
    header = page.header if page.card is None else replace(page.header, card=fill_card(page.card, page.header.digest))
    return lay_out(header, *parts, page.imports, _choices(page.lineage, page.tracker, nodes, saved))


def fill_page(page: Page) -> tuple[str, str, str]:
    """The docstring of a page's script, its own code, and what starts it: all but the runtime.

    Raises:
        RenderError: As for ``render_script``.
    """
    from markupsafe import Markup

    # what a method's template imports beside the rest, in `needs`
    def heavy_imports(more: Sequence[str]) -> Markup:
        return Markup(indent(import_lines(_heavy_imports(page), more, width=84), "    "))

    return _fill(*(f"{name}.py.j2" for name in page.lineage), page=page, heavy_imports=heavy_imports)


def render_wrapper(page: Wrapper) -> str:
    """The wrapper of a script that exists already, formatted.

    Raises:
        RenderError: As for ``render_script``, or the script's header has values that no header can be written with.
    """
    parts = _fill("script.py.j2", page=page)
    try:
        return lay_out(page.header, *parts, [], _choices((), page.tracker, "relaunch"))
    except (TypeError, ValueError) as error:
        raise RenderError(f"header of {page.origin}: {error}") from error


def _choices(lineage: Sequence[str], tracker: str, *others: str) -> list[str]:
    """Blocks that are this script's own, of those that do the same in another way."""
    known = block_names()
    evaluates = next((name for method in lineage if (name := f"evaluate_{method}") in known), "")
    return [name for name in (evaluates, f"track_{tracker}", *others) if name in known]


def _fill(*names: str, **values: Any) -> tuple[str, str, str]:
    """Docstring, program and start of the first template that exists; between them it has a NUL, as no source can."""
    from jinja2 import TemplateError
    from markupsafe import Markup

    try:
        text = _environment().select_template(names).render(**values, part=Markup("\0"))
    except (TemplateError, TypeError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise RenderError(f"template {names[0]}{f', line {line}' if line else ''}: {error}") from error
    docstring, program, start = text.split("\0")
    return docstring, program, start


def _heavy_imports(page: Page) -> list[str]:
    """What ``main`` imports once it is known that this process trains."""
    data = [part for item in (page.dataset, page.eval_dataset) if item is not None for part in item.parts]
    lines = [f"from {page.module} import {page.config}, {page.trainer}"]
    if any(item.mixed_with for item in data):
        lines.append("from datasets import concatenate_datasets")
    if any(item.builder == "disk" for item in data):
        lines.append("from datasets import DatasetDict, load_from_disk")
    if any(item.builder != "disk" for item in data):
        lines.append("from datasets import load_dataset")
    if page.lora is not None:
        lines.append("from peft import LoraConfig")
    if page.adapter is not None:
        lines.append("from peft import PeftModel")
    if page.adapter is not None or page.merge or page.ref_model is not None:
        lines.append(f"from transformers import {page.model_class}")
    if page.quantization is not None:
        lines.append("from transformers import BitsAndBytesConfig")
    if page.processing_class is not None or page.chat_template is not None:
        lines.append(f"from transformers import {page.tokenizer_class}")
    if any(reward.kind == "model" for reward in page.rewards):
        lines.append("from transformers import AutoModelForSequenceClassification")
    lines += [
        f"from trl.rewards import {reward.name}" for reward in page.rewards if reward.kind in {"builtin", "factory"}
    ]
    return lines


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import FileSystemLoader, StrictUndefined, Undefined, pass_eval_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from markupsafe import Markup

    from hfjobs_trainer.rendering.compiled import CompiledTemplates

    # with the eval context, constants of a template are not finalised at compile time, where they would be escaped
    @pass_eval_context
    def finalize(_: Any, value: Any) -> Any:
        if isinstance(value, Markup):
            return value
        if isinstance(value, Undefined):
            return str(value)
        return Markup(literals.python_literal(value))

    def keywords(values: Mapping[str, Any], indent: int) -> Markup:
        return Markup(literals.keyword_lines(values, indent=indent))

    def items(values: Mapping[str, Any], indent: int) -> Markup:
        return Markup(literals.dict_lines(values, indent=indent))

    def literal(value: Any, indent: int) -> Markup:
        return Markup(literals.python_literal(value, indent=indent))

    def name(text: str) -> Markup:
        return Markup(literals.identifier(text))

    def source(text: str) -> Markup:
        return Markup(text.rstrip("\n"))

    def text_lines(text: str) -> Markup:
        return Markup(literals.text_lines(text))

    def of_kind(rewards: Sequence[Reward], kind: str) -> list[Reward]:
        return [reward for reward in rewards if reward.kind == kind]

    def assign(variable: str, value: Any) -> Markup:
        return Markup(literals.assignment(variable, value))

    def place(id: str, constant: str | None = None, indent: int = 0) -> Markup:
        return Markup(_place(id, constant, indent))

    environment: Any = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(template_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # what a process renders does not change under it: the runtime blocks and the package's code are read once, too
        auto_reload=False,
        bytecode_cache=CompiledTemplates(Path(__file__).read_bytes()),
    )
    # the stock filters make Markup of values (safe, tojson, ...): none of them is available
    filters = (keywords, items, literal, name, source, of_kind, text_lines)
    environment.filters = {function.__name__: function for function in filters} | {"count": len}
    environment.globals = {"assign": assign, "place": place, "is_found": _is_found}
    return environment


def _is_found(id: str) -> bool:
    """Whether the script looks for a model or dataset by its digest."""
    return split_pin(id)[1] is not None


def _place(id: str, constant: str | None, indent: int) -> str:
    """An expression for where a model or dataset is: a constant or a literal, looked for if it has a digest."""
    text = literals.identifier(constant) if constant else literals.python_literal(id)
    if not _is_found(id):
        return text
    # a digest fits in no line that has a call in it
    inner = " " * (indent + 4)
    return f"find_data({text})" if constant else f"find_data(\n{inner}{text},\n{' ' * indent})"
