"""What is refused of a tool's signature and docstring is what transformers refuses, and no more."""

from __future__ import annotations

from typing import Any

import pytest
from rules.case import base

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts

USUAL = "Look.\n\n    Args:\n        q: Query.\n"

# (parameters and return value, docstring, whether it will do)
TOOLS: list[tuple[str, str, bool]] = [
    ("(q: str)", USUAL, True),
    ("(q: str) -> str", USUAL + "\n    Returns:\n        What was found.\n", True),
    ("(q: str)", "Look.\n\n    Args:\n        q (str): Query.\n", False),
    ("(q: str)", "Look.\n\n    Args: q: Query.\n", False),
    ("(q: str)", "Look. Args:\n        q: Query.\n", False),
    ("(q: str)", "Args:\n        q: Query.\n", False),
    ("(q: str)", "Look.\n\n    Args:\n\n        q:\n            Query, over\n            two lines.\n", True),
    ("(q: str)", "Look.\n\n    Returns:\n        It.\n\n    Args:\n        q: Query.\n", True),
    ("(q: str)", "Look.\n\n    Raises:\n        q: Query.\n", False),
    ("(q: str)", "   ", False),
    ("(q: str, n: int = 3)", USUAL + "            n: no parameter, but part of the text.\n", False),
    ("(q: str, n: int = 3)", USUAL + "        n: How many.\n", True),
    ("()", "Look.", True),
    ("(q: str, **kw)", USUAL + "        kw: More.\n", False),
    ("(q: str, **kw: int)", USUAL + "        kw: More.\n", True),
    ("(q: str, *rest: str)", USUAL, False),
    ("(q: str, *rest: str)", USUAL + "        *rest: More.\n", False),
    ("(q: str, *rest: str)", USUAL + "        rest: More.\n", True),
    ("(q: str, /, *, n: int)", USUAL + "        n: How many.\n", True),
    ("(q: str) -> Hit", USUAL, False),
    ("(q: str) -> 'Hit'", USUAL, False),
    ("(q: str) -> bytes", USUAL, True),
    ("(q: 'Hit')", USUAL, False),
    ("(q: 'not a type')", USUAL, False),
    ("(q: 'str')", USUAL, True),
    ("(q: list['Hit'])", USUAL, False),
    ("(q: list[dict[str, int]] | None = None)", USUAL, True),
    ("(q: Literal['Hit', 'miss'])", USUAL, True),
    ("(q: Annotated[str, 'Hit'])", USUAL, True),
    ("(q: bytes)", USUAL, False),
    ("(q: set[str])", USUAL, False),
]


@pytest.mark.torch
@pytest.mark.parametrize(("signature", "docstring", "fits"), TOOLS)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_transformers_agrees(signature: str, docstring: str, fits: bool) -> None:
    from transformers.utils.chat_template_utils import get_json_schema

    source = f'def look{signature}:\n    """{docstring}    """\n    return "found"\n'
    imports = ["from typing import Annotated, Literal"]
    tool = {"name": "look", "source": source, "imports": imports}
    report = hft.check(base({"method": "grpo", "tools": [tool]}), facts=Facts())
    refused = [problem for problem in report.problems if problem.code == "TOOL001"]
    assert (not refused) is fits
    scope: dict[str, Any] = {}

    def describe() -> None:
        exec("\n".join([*imports, source]), scope)  # noqa: S102 - as the script defines it
        get_json_schema(scope["look"])

    if fits:
        describe()
    else:
        with pytest.raises(Exception, match=r"."):
            describe()
