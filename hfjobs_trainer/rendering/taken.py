"""Names that a script has of its own, which a function of the user must not have: read off what is rendered."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from hfjobs_trainer.rendering.layout import names_at_top, source_of, standard_import
from hfjobs_trainer.rendering.page import Adapter, Data, Header, Page, Reward, Server, SideModel
from hfjobs_trainer.rendering.paste import block_names, names_read, runtime_block
from hfjobs_trainer.rendering.render import fill_page
from hfjobs_trainer.specs.registry import Method


@dataclass(frozen=True, slots=True)
class Taken:
    """Names that the scripts of a method have.

    Attributes:
        top: Those at their top: functions, constants, imports, and builtins that they read.
        main: Those that only ``main`` binds.
        imported: What the imports at their top stand for, such as ``"pathlib.Path"``.
    """

    top: frozenset[str]
    main: frozenset[str]
    imported: frozenset[str]

    def __contains__(self, name: object) -> bool:
        """Whether a script may have this name; numbered ones, such as ``dataset_2``, with any number."""
        text = re.sub(r"_\d+$", "_1", str(name))
        return text in self.top or text in self.main


@cache
def taken_names(method: Method) -> Taken:
    """The names of all scripts of a method, whatever the spec decides."""
    blocks = [runtime_block(name) for name in block_names()]
    imports = {line for block in blocks for line in block.imports.values()}
    defined = {name for block in blocks for name in block.definitions}
    read = {name for block in blocks for item in block.definitions.values() for name in item.reads}
    main: set[str] = set()
    for page in _pages(method):
        _, program, start = fill_page(page)
        body = source_of(program, "main")
        main |= set(_bound(ast.parse(body))) | set(_bound(ast.parse(start)))
        defined |= names_at_top([program])
        read |= {*names_read(body), *names_read(start)}
    known = defined | names_at_top(imports)
    given = {*dir(builtins), "__file__"}
    imports |= {standard_import(name) for name in read - known - given}
    origins = {origin for line in imports for _, origin in imported_by(line)}
    return Taken(frozenset(known | read), frozenset(main), frozenset(origins))


def imported_by(line: str) -> list[tuple[str, str]]:
    """Names that an import statement binds, each with what it stands for."""
    node = ast.parse(line).body[0]
    if isinstance(node, ast.ImportFrom):
        return [(alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names]
    assert isinstance(node, ast.Import)
    plain = [(alias.name if alias.asname else alias.name.split(".")[0], alias.asname) for alias in node.names]
    return [(renamed or origin, origin) for origin, renamed in plain]


def _bound(tree: ast.AST) -> Iterator[str]:
    """Every name that code binds, at whatever depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


def _pages(method: Method) -> Iterator[Page]:
    """Pages that together have every part that a script of the method can have."""
    model, table = SideModel("m", "bfloat16"), Data("d", arguments={"split": "train"})
    saved = replace(table, builder="disk", num_samples=1, keep_columns=["a"], columns={"a": "b"})
    some: dict[str, Any] = {"load_in_4bit": True}
    page = Page(
        method=method.name,
        label=method.label,
        module=method.module,
        trainer=method.trainer,
        config=method.config,
        experimental=method.experimental,
        extends=method.extends,
        header=Header("", (), "", (), {}, "{}", ""),
        model="m",
        dataset=saved,
        eval_fraction=0.1,
        arguments={"per_device_train_batch_size": 1},
        teacher=model,
        ref_model=model,
        processing_class="m",
        reward_model=model,
        value_model=replace(model, dtype_is_set=True),
        lora={"r": 1},
        quantization=some,
        bf16_adapter=True,
        merge="both",
        pushes=True,
        sharding={"fsdp": True},
        rewards=[Reward("model", "m")],
        num_gpus=1,
        tracker="trackio",
        tracking={"project": "p"},
        chat_template="t",
    )
    mixture = replace(table, fraction=0.5, mixed_with=[replace(table, fraction=0.5), saved])
    yield page
    yield replace(page, dataset=mixture, eval_fraction=None, eval_dataset=mixture, server=Server(1, 1, 1.0))
    apart = replace(page, server=Server(1, 1, 1.0, apart=True), nodes=2, downloads={"m": None}, global_batch_size=1)
    yield replace(apart, adapter=Adapter("a", merged=True), lora=None, merge="only", precision_is_set=True)
    yield replace(
        page, model_class="AutoModelForImageTextToText", lora=None, bf16_adapter=False, tokenizer_class="AutoProcessor"
    )
