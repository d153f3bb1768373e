"""The Jinja environment: a run in, the text of a script out.

Values reach a template only through the literal writers. ``finalize`` turns whatever a template prints into a Python
literal, unless it is ``Markup``, which only this module makes, of text that is source already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.errors import RenderError
from hfjobs_trainer.rendering import literals
from hfjobs_trainer.rendering.header import write_header
from hfjobs_trainer.rendering.paste import Block, import_lines, runtime_blocks
from hfjobs_trainer.rendering.run import Reward, Run
from hfjobs_trainer.rendering.script import ScriptRun

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_PACKAGE = Path(__file__).parent.parent


def template_folder() -> Path:
    """Folder of the templates: inside an installed package, beside it in the repository."""
    installed = _PACKAGE / "_templates"
    return installed if installed.is_dir() else _PACKAGE.parent / "templates"


def render_script(run: Run) -> str:
    """The script of a run, formatted.

    Raises:
        RenderError: A template is wrong, which is a defect of this package.
    """
    from markupsafe import Markup

    def blocks(extra: Sequence[str]) -> list[Block]:
        return runtime_blocks([*_needed(run), *extra])

    def top_imports(extra: Sequence[str]) -> Markup:
        return Markup(import_lines([block.imports for block in blocks(extra)], ["import time"], run.imports))

    def heavy_imports(more: Sequence[str]) -> Markup:
        return Markup(indent(import_lines(_heavy_imports(run), more, width=84), "    "))

    # what a method's template asks for beside the rest, in `blocks` and in `needs`
    def runtime(extra: Sequence[str]) -> Markup:
        return Markup("\n\n\n".join(block.source for block in blocks(extra)))

    header = Markup(write_header(run.header))
    return _fill(
        f"{run.method}.py.j2",
        run=run,
        header=header,
        imports=top_imports,
        runtime=runtime,
        heavy_imports=heavy_imports,
    )


def render_wrapper(run: ScriptRun) -> str:
    """The wrapper of a script that exists already, formatted.

    Raises:
        RenderError: As for ``render_script``, or the script's header has values that no header can be written with.
    """
    from markupsafe import Markup

    blocks = runtime_blocks(run.blocks)
    try:
        header = Markup(write_header(run.header))
    except (TypeError, ValueError) as error:
        raise RenderError(f"header of {run.origin}: {error}") from error
    imports = Markup(import_lines([block.imports for block in blocks], ["import time"]))
    runtime = Markup("\n\n\n".join(block.source for block in blocks))
    return _fill("script.py.j2", run=run, header=header, imports=imports, runtime=runtime)


def _fill(name: str, **values: Any) -> str:
    from jinja2 import TemplateError

    try:
        return _environment().get_template(name).render(**values)
    except (TemplateError, TypeError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise RenderError(f"template {name}{f', line {line}' if line else ''}: {error}") from error


def _needed(run: Run) -> list[str]:
    names = ["relaunch", "device", "events", "conclude"]
    if run.tracking is not None:
        names.append("tracking" if run.tracker == "trackio" else f"track_{run.tracker}")
    if run.nodes > 1:
        names.append("nodes")
    if run.sharding:
        names.append("sharding")
    if run.server is not None:
        names.append("vllm_node" if run.server.apart else "vllm_server")
    if run.merge:
        names.append("merge")
    if run.pushes:
        names.append("push")
    if any(data.mixed_with and data.fraction is not None for data in (run.dataset, run.eval_dataset) if data):
        names.append("mixture")
    return names


def _heavy_imports(run: Run) -> list[str]:
    """What ``main`` imports once it is known that this process trains."""
    data = [part for item in (run.dataset, run.eval_dataset) if item is not None for part in item.parts]
    lines = [f"from {run.module} import {run.config}, {run.trainer}"]
    if any(item.mixed_with for item in data):
        lines.append("from datasets import concatenate_datasets")
    if any(item.builder == "disk" for item in data):
        lines.append("from datasets import DatasetDict, load_from_disk")
    if any(item.builder != "disk" for item in data):
        lines.append("from datasets import load_dataset")
    if run.lora is not None:
        lines.append("from peft import LoraConfig")
    if run.adapter is not None:
        lines.append("from peft import PeftModel")
    if run.adapter is not None or run.merge:
        lines.append(f"from transformers import {run.model_class}")
    if run.quantization is not None:
        lines.append("from transformers import BitsAndBytesConfig")
    if any(reward.kind == "model" for reward in run.rewards):
        lines.append("from transformers import AutoModelForSequenceClassification")
    lines += [
        f"from trl.rewards import {reward.name}" for reward in run.rewards if reward.kind in {"builtin", "factory"}
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
    environment.globals = {"assign": assign}
    return environment
