"""The blocks can be pasted into one script: they stand alone, name what they need and never clash."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
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
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.FunctionDef)
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), node.name


def test_no_two_blocks_define_the_same_name() -> None:
    names: Counter[str] = Counter()
    for text in BLOCKS.values():
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                names[node.name] += 1
            elif isinstance(node, ast.Assign):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert {name for name, count in names.items() if count > 1} == set()
    assert {"report", "prepare_machine", "relaunch", "finish", "track", "push", "conclude"} <= names.keys()
