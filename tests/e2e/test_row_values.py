"""What the rules say of rows, TRL's own trainers confirm: refused rows fail or train on nothing meant, others train."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e import train_rows
from e2e.row_cases import CASES, Case

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.gathering.inspect_rows import inspect_rows
from hfjobs_trainer.gathering.sample import filled
from hfjobs_trainer.specs.registry import METHODS
from tests.specs.building import required


@pytest.fixture(scope="module")
def trainer() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, train_rows.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def told(case: Case) -> list[hft.Problem]:
    fields: dict[str, Any] = {"method": case.method, **required(case.method), **case.arguments}
    spec = METHODS[case.method](**{name: value for name, value in fields.items() if name != "method"})
    rows = filled(case.rows)
    known = DatasetFacts(exists=True, columns=tuple(rows[0]), values=inspect_rows(rows, spec.dataset_formats()))
    report = hft.check(spec, facts=Facts(model=ModelFacts(is_vision=False), dataset=known), backend="local")
    return [problem for problem in report.problems if problem.code.startswith("DATA") and problem.path == "dataset"]


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows(case: Case, trainer: subprocess.Popen[str], tiny_model: Path) -> None:
    problems = told(case)
    codes = {problem.code for problem in problems}
    if case.outcome == "fails":
        assert case.code in {problem.code for problem in problems if problem.severity == "error"}
    elif case.code:
        assert case.code in codes
    else:
        assert not codes
    assert trainer.stdin
    assert trainer.stdout
    request = {"method": case.method, "rows": case.rows, "model": str(tiny_model), "arguments": dict(case.arguments)}
    trainer.stdin.write(json.dumps(request) + "\n")
    trainer.stdin.flush()
    answer = json.loads(trainer.stdout.readline())
    assert bool(answer["error"]) == (case.outcome == "fails"), answer
    if case.outcome != "fails":
        assert answer["steps"] == 1
        assert case.seen in "\n".join(answer["seen"])
