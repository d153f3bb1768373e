"""Every message with which a script of this package ends itself is known."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hfjobs_trainer as hft

ROOT = Path(__file__).parents[2]
RUNTIME = sorted((ROOT / "hfjobs_trainer" / "rendering" / "runtime").glob("*.py"))
VALUES = {"what": "a str, not a row, a list of rows or None", "where": "row 0: {}", "digest": "0" * 64, "why": "no"}


def text_of(value: ast.expr) -> str:
    """What a message looks like, with something for each value in it."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(map(text_of, value.values))
    if isinstance(value, ast.FormattedValue):
        name = ast.unparse(value.value).split(".")[-1]
        return VALUES.get(name, "name" if name in ("name", "path", "error", "repo") else "7")
    return ast.unparse(value)


def messages() -> Iterator[tuple[str, str]]:
    for path in RUNTIME:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit" and node.args:
                (value,) = node.args
                if isinstance(value, ast.Constant | ast.JoinedStr):
                    yield f"{path.stem}:{node.lineno}", text_of(value)


MESSAGES = dict(messages())


@pytest.mark.parametrize("place", MESSAGES)
def test_a_message_with_which_a_script_ends_itself_is_known(place: str) -> None:
    found = hft.diagnose(MESSAGES[place], 1)
    assert found, MESSAGES[place]


def test_there_are_such_messages() -> None:
    assert len(MESSAGES) >= 14


def test_what_a_script_proposes_wins() -> None:
    told = "hft: out of GPU memory in train(), after step 3: torch.OutOfMemoryError: CUDA out of memory. Tried to"
    told += ' allocate 2.00 GiB. Try per_device_train_batch_size=2, or hardware="h200". No checkpoint was kept'
    (found,) = hft.diagnose(told, 1)
    assert found.fix == '`per_device_train_batch_size=2`, or `hardware="h200"`'
    assert found.cause == "The GPU ran out of memory in training, after step 3."
