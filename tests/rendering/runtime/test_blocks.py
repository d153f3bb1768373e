"""The blocks can be pasted into one script: they stand alone, name what they need and never clash."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from hfjobs_trainer.rendering import runtime

PACKAGE = runtime.__name__
FOLDER = Path(next(iter(runtime.__path__)))
BLOCKS = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("[a-z]*.py")}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_imports_the_standard_library_and_the_blocks_it_names(block: str) -> None:
    needed: set[str] = set()
    for node in ast.parse(BLOCKS[block]).body:
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            if module.startswith(PACKAGE):
                needed.add(module.removeprefix(f"{PACKAGE}."))
            else:
                assert node.level == 0
                assert module.split(".")[0] in sys.stdlib_module_names
    assert set(re.findall(r"^# needs: (\w+)$", BLOCKS[block], re.MULTILINE)) == needed <= BLOCKS.keys()


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


# Of these, a script has one at most.
ALTERNATIVES = ("track", "evaluate_")


def test_no_two_blocks_of_a_script_define_the_same_name() -> None:
    owners: dict[str, set[str]] = {}
    for block, text in BLOCKS.items():
        group = next((prefix for prefix in ALTERNATIVES if block.startswith(prefix)), block)
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                owners.setdefault(node.name, set()).add(group)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        owners.setdefault(target.id, set()).add(group)
    assert {name for name, groups in owners.items() if len(groups) > 1} == set()
