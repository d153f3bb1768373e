"""The blocks can be pasted into one script: they stand alone, and what has one name in a script is one thing."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from hfjobs_trainer.rendering import runtime
from hfjobs_trainer.rendering.paste import ALTERNATIVES, block_names, defined_names, import_lines, paste, runtime_block

FOLDER = Path(next(iter(runtime.__path__)))
BLOCKS = {name: FOLDER.joinpath(f"{name}.py").read_text("utf-8") for name in block_names()}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_imports_the_standard_library_and_other_blocks(block: str) -> None:
    for node in ast.parse(BLOCKS[block]).body:
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            module = str(node.module)
            if not module.startswith(runtime.__name__):
                assert module.split(".")[0] in sys.stdlib_module_names
    for name, owner in runtime_block(block).needs.items():
        assert name in runtime_block(owner).definitions


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_imports_then_documented_definitions(block: str) -> None:
    tree = ast.parse(BLOCKS[block])
    assert ast.get_docstring(tree)
    _, *body = tree.body
    kinds = [isinstance(node, ast.Import | ast.ImportFrom) for node in body]
    assert kinds == sorted(kinds, reverse=True)
    for node in body:
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.FunctionDef | ast.ClassDef)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("block", block_names())
def test_what_a_block_defines_is_told_without_parsing_it(block: str) -> None:
    assert defined_names(block) == list(runtime_block(block).definitions)


def test_a_name_is_defined_once_unless_a_script_has_one_of_several() -> None:
    owners: dict[str, list[str]] = {}
    for name in block_names():
        for defined in runtime_block(name).definitions:
            owners.setdefault(defined, []).append(name)
    for blocks in owners.values():
        assert len([name for name in blocks if not name.startswith(ALTERNATIVES)]) <= 1
        assert len({name.split("_")[0] for name in blocks}) == 1


def test_what_is_called_comes_along_once_and_after_its_callers() -> None:
    pasted = paste(["relaunch", "join_nodes"], ["relaunch_nodes"])
    names = [node.name for node in ast.parse(pasted.source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(names) == len(set(names))
    assert names.index("relaunch") < names.index("count_processes")
    assert names.index("relaunch") < names.index("download")
    assert names.index("join_nodes") < names.index("await_others") < names.index("receive_one")
    assert "JOIN_SECONDS = 1800.0" in pasted.constants
    assert "# Jobs queue for their machines one by one" in pasted.constants
    assert "PUSH_PAUSES" not in pasted.constants
    assert "push" not in names
    compile("\n".join([import_lines(pasted.imports), pasted.constants, pasted.source]), "pasted", "exec")


def test_a_class_comes_after_the_one_that_it_is_made_from() -> None:
    # a script defines them as it is read: the other order would end it at once
    pasted = paste(["train", "HubCheckpoints", "Stop"], ["reload_model"])
    names = [node.name for node in ast.parse(pasted.source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(names) == len(set(names))
    assert names.index("Checkpoints") < names.index("HubCheckpoints")


def test_names_that_no_block_has_are_passed_over() -> None:
    assert paste(["len", "MODEL"]).source == ""
