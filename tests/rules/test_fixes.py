"""Every fix is what it should be: keyword arguments or one shell line; applied, it mends what it is the fix of.

The cases of ``tests/rules`` and the variants are all there is to it: a new rule is tested here by its case.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from rules.case import base, case, codes
from rules.test_variants import SAID

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning import schedule
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs import load, parse
from hfjobs_trainer.specs.base import JobSpec

COMMANDS = {"hf", "pip", "uv", "python", "export"}
"""What a shell line may begin with."""


@dataclass(frozen=True)
class Fixed:
    """A problem with a fix, and the spec of which it was told."""

    code: str
    fields: Mapping[str, Any]
    facts: Facts
    backend: str
    problem: Problem

    def __str__(self) -> str:
        return f"{self.code}-{self.problem.path}"


def bad_specs() -> list[tuple[str, dict[str, Any], Facts, str]]:
    cases = [case(code) for code in codes() if code not in load.CODES | schedule.CODES]
    own = [(known.code, base(known.bad), known.facts, known.backend) for known in cases]
    return [*own, *((code, base(fields), facts, "hub") for code, fields, facts, _ in SAID)]


FIXED = [
    Fixed(code, fields, facts, backend, problem)
    for code, fields, facts, backend in bad_specs()
    for problem in hft.check(fields, facts=facts, backend=backend).problems
    if problem.code == code and problem.fix
]
ARGUMENTS = [item for item in FIXED if item.problem.fix.split()[0] not in COMMANDS]
LINES = [item for item in FIXED if item not in ARGUMENTS]


def arguments(fix: str, spec: JobSpec | None = None) -> dict[str, Any]:
    """The keyword arguments that a fix is, in a place where the functions of the spec are defined."""
    call = ast.parse(f"spec.replace({fix})", mode="eval").body
    assert isinstance(call, ast.Call)
    assert not call.args
    assert all(keyword.arg for keyword in call.keywords)
    functions = {item.name: item for item in getattr(spec, "reward_funcs", []) if not isinstance(item, str)}
    return eval(f"dict({fix})", {"hft": hft, **functions})  # noqa: S307 - it is Python that the package itself wrote


def wrong(problems: tuple[Problem, ...]) -> set[str]:
    """The fields of which there is an error."""
    return {problem.path for problem in problems if problem.severity == "error"}


# of another model or repository, other facts are gathered
OTHER_FACTS = dict.fromkeys(("HUB006", "HUB010", "HUB011", "MODEL001", "MODEL003", "MODEL009"), Facts())


@pytest.mark.parametrize("item", [item for item in ARGUMENTS if item.code not in parse.CODES], ids=str)
def test_a_fix_mends_what_it_is_the_fix_of(item: Fixed) -> None:
    spec, problems, _ = parse.parse(item.fields)
    assert spec is not None, problems
    before = hft.check(spec, facts=item.facts, backend=item.backend)
    mended = spec.replace(**arguments(item.problem.fix, spec))
    after = hft.check(mended, facts=OTHER_FACTS.get(item.code, item.facts), backend=item.backend)
    assert (item.code, item.problem.path, item.problem.why) not in [(p.code, p.path, p.why) for p in after.problems]
    assert not wrong(after.problems) - wrong(before.problems)


@pytest.mark.parametrize("item", [item for item in ARGUMENTS if item.code in parse.CODES], ids=str)
def test_a_fix_takes_the_place_of_what_was_typed(item: Fixed) -> None:
    given = dict(item.fields)
    given.pop(item.problem.path.split(".")[0], None)
    _, before, _ = parse.parse(item.fields)
    _, after, _ = parse.parse(given | arguments(item.problem.fix))
    assert (item.code, item.problem.path) not in [(problem.code, problem.path) for problem in after]
    # what a rule says of the right word is another matter
    assert {problem.path for problem in after if problem.code in parse.CODES} < {problem.path for problem in before}


@pytest.mark.parametrize("item", LINES, ids=str)
def test_a_shell_line_is_one_command(item: Fixed) -> None:
    assert "\n" not in item.problem.fix
    assert shlex.split(item.problem.fix)[0] in COMMANDS


@pytest.mark.parametrize("code", sorted(load.CODES))
def test_a_file_has_no_other_kind_of_fix(code: str) -> None:
    for _, _, fix in case(code).expected:
        assert not fix or arguments(fix)


# What rows hold, and what a function of the user's own says, is mended there: no argument would do.
MENDED_ELSEWHERE = re.compile(r"DATA01[3-9]|DATA0[23]\d|TMPL\d+|TOOL\d+|GRPO01[78]")


def test_most_rules_have_a_fix_that_is_applied() -> None:
    arguable = {code for code in codes() if not MENDED_ELSEWHERE.fullmatch(code)}
    assert len({item.code for item in ARGUMENTS} & arguable) > 0.75 * len(arguable)


def test_nothing_else_is_lost() -> None:
    hardware = hft.Hardware(flavor="a10g-large", strategy="fsdp2", max_usd=5)
    dataset = hft.Dataset(id="me/data", config="main", num_samples=10)
    spec = hft.SFT(model="me/model", dataset=[dataset, "me/more"], hardware=hardware)
    (problem,) = [item for item in hft.check(spec, offline=True).problems if item.code == "DIST001"]
    assert problem.fix == 'hardware=hft.Hardware(flavor="a10g-large", strategy="auto", max_usd=5.0)'
    mended = spec.replace(**arguments(problem.fix))
    assert mended.hardware == hft.Hardware(flavor="a10g-large", strategy="auto", max_usd=5)
    assert mended.dataset == spec.dataset
