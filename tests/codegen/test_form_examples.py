"""The examples of the codes that no rule has: the bad one has the problem, the good one has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.form_examples import EXAMPLES, FILES
from hfjobs_trainer.planning.schedule import CODES, on_schedule
from hfjobs_trainer.specs import load, parse


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")


def found(expression: str) -> list[str]:
    """Codes of the errors of form that an expression has."""
    if "schedule=" in expression:
        return eval(expression.replace("hft.submit_sft(", "scheduled("), {"hft": hft, "scheduled": scheduled})  # noqa: S307
    try:
        made = eval(expression, {"hft": hft})  # noqa: S307 - our own examples
    except hft.SpecError as error:
        return [problem.code for problem in error.problems]
    report = made if isinstance(made, hft.Report) else hft.check(made, facts=hft.Facts())
    return [problem.code for problem in report.problems if problem.code.startswith(("SPEC", "LOAD"))]


def scheduled(schedule: str, **fields: Any) -> list[str]:
    """Codes of what is wrong with a schedule, found without asking the Hub."""
    plan = on_schedule(hft.plan(hft.SFT(**fields), facts=hft.Facts()), schedule, is_possible=True)
    return [problem.code for problem in plan.problems if problem.code in CODES]


def test_each_code_has_an_example() -> None:
    assert EXAMPLES.keys() == parse.CODES.keys() | load.CODES.keys() | CODES.keys()


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_bad_example_has_the_problem_and_the_good_one_none(code: str) -> None:
    assert found(EXAMPLES[code].bad) == [code]
    assert found(EXAMPLES[code].good) == []
