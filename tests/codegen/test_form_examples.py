"""The examples of the codes that no rule has: the bad one has the problem, the good one has not."""

from __future__ import annotations

from pathlib import Path

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.form_examples import EXAMPLES, FILES
from hfjobs_trainer.specs import load, parse


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")


def found(expression: str) -> list[str]:
    """Codes of the errors of form that an expression has."""
    try:
        made = eval(expression, {"hft": hft})  # noqa: S307 - our own examples
    except hft.SpecError as error:
        return [problem.code for problem in error.problems]
    report = made if isinstance(made, hft.Report) else hft.check(made, facts=hft.Facts())
    return [problem.code for problem in report.problems if problem.code.startswith(("SPEC", "LOAD"))]


def test_each_code_has_an_example() -> None:
    assert EXAMPLES.keys() == parse.CODES.keys() | load.CODES.keys()


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_bad_example_has_the_problem_and_the_good_one_none(code: str) -> None:
    assert found(EXAMPLES[code].bad) == [code]
    assert found(EXAMPLES[code].good) == []
