"""Every code says of a bad spec exactly what it should, and nothing of a good one."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from rules.case import base, case, codes

import hfjobs_trainer as hft
from hfjobs_trainer.codegen import rules
from hfjobs_trainer.facts import Facts, ScriptFacts
from hfjobs_trainer.planning import schedule
from hfjobs_trainer.planning.check import all_rules
from hfjobs_trainer.problems import Problem, Unchecked
from hfjobs_trainer.specs import load, parse
from hfjobs_trainer.specs.base import JobSpec
from hfjobs_trainer.tokens import token_kind

RULES = [code for code in codes() if code not in load.CODES | schedule.CODES]
SPECS = [code for code in RULES if code not in parse.CODES]
SECTIONS = ("What it does:", "Why:", "Example:", "Use instead:")


def told(code: str, problems: tuple[Problem, ...]) -> list[tuple[str, str, str]]:
    return [(problem.path, problem.why, problem.fix) for problem in problems if problem.code == code]


def test_every_code_has_a_case() -> None:
    assert codes() == sorted(all_rules().keys() | parse.CODES.keys() | load.CODES.keys() | schedule.CODES.keys())


@pytest.mark.parametrize("code", RULES)
def test_bad_is_told(code: str) -> None:
    known = case(code)
    report = hft.check(base(known.bad), facts=known.facts, backend=known.backend)
    assert told(code, report.problems) == known.expected
    assert known.expected


@pytest.mark.parametrize("code", RULES)
def test_good_is_not(code: str) -> None:
    known = case(code)
    report = hft.check(base(known.good), facts=known.good_facts, backend=known.backend)
    assert told(code, report.problems) == []
    assert not [problem for problem in report.problems if problem.code in parse.CODES]
    assert code not in [item.code for item in report.unchecked]


@pytest.mark.parametrize("code", SPECS)
def test_what_is_not_known_is_not_passed(code: str) -> None:
    known = case(code)
    unchecked = hft.check(base(known.bad), facts=Facts(), backend=known.backend).unchecked
    assert [item for item in unchecked if item.code == code] == (
        [Unchecked(code, known.unchecked)] if known.unchecked else []
    )


@pytest.mark.parametrize("code", SPECS)
def test_script_rules_hold_everywhere_and_remote_ones_on_the_hub_only(code: str) -> None:
    known = case(code)
    rule = all_rules()[code]
    elsewhere = hft.check(base(known.bad), facts=known.facts, backend="local").problems
    if rule.scope == "remote":
        assert told(code, elsewhere) == []
    elif rule.stage == "spec":
        assert told(code, elsewhere) == known.expected


OF_JOBS = (
    *(
        "COST005",
        "ENV001",
        "ENV002",
        "HUB008",
        "HUB011",
        "HUB012",
        "HW001",
        "HW005",
        "HW007",
        "JOB001",
        "JOB002",
        "JOB003",
        "JOB004",
    ),
    *("JOB008", "JOB009", "JOB010", "JOB011", "SEC001", "SEC002", "SEC004", "SEC006"),
)


@pytest.mark.parametrize("code", OF_JOBS)
def test_rules_of_jobs_hold_for_scripts(code: str) -> None:
    known = case(code)
    fields = JobSpec.model_fields.keys() - {"method"}
    bad = {name: value for name, value in known.bad.items() if name in fields}
    report = hft.check(base({"method": "script", **bad}), facts=known.facts, backend=known.backend)
    # only training has the other fields, and pins packages
    of_job = [item for item in known.expected if item[0].split(".")[0] in fields and "is pinned to" not in item[1]]
    # nor does anyone know what a script does with its token, and what it needs of a machine
    expected = [(path, why.split(", and so does the script")[0]) for path, why, _ in of_job]
    assert [(path, why) for path, why, _ in told(code, report.problems)] == expected
    assert expected


def test_no_other_rule_holds_for_scripts() -> None:
    assert tuple(code for code, rule in all_rules().items() if rule.scripts) == OF_JOBS


@pytest.mark.parametrize("code", sorted(all_rules()))
def test_docstring_has_every_section(code: str) -> None:
    doc = all_rules()[code].doc
    title = doc.splitlines()[0]
    assert title.endswith(".")
    places = [doc.find(section) for section in SECTIONS]
    assert -1 not in places
    assert places == sorted(places)
    assert not [text for text in re.findall(r"```python\n(.*?)```", doc, re.DOTALL) if not ast.parse(dedent(text)).body]


def test_the_page_has_every_code() -> None:
    page = rules.generate()[rules.PATH]
    assert sorted(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == sorted([*codes(), parse.DEFECT])
    assert [code for code in codes() if f"](#{code.lower()})" not in page] == []


@pytest.mark.parametrize("code", ["SEC001", "SEC002", "SEC006"])
def test_no_message_holds_a_secret(code: str) -> None:
    known = case(code)
    report = hft.check(base(known.bad), facts=known.facts)
    assert token_kind(str(report)) is None
    assert not any(secret in str(report) for secret in ("0123456789abcdef", "hunter2"))


TOKEN = "hf_" + "a" * 34


@pytest.mark.parametrize(
    "fields",
    [
        {"hardware": TOKEN},
        {"model": f"https://user:{TOKEN}@huggingface.co/me/model"},
        {"model": "https://user:hunter2@huggingface.co/me/model"},
        {"dataset": {"id": "me/data", "split": TOKEN}},
        {"secrets": [f"HF_TOKEN={TOKEN}", "PLAIN=hunter2"]},
        {"labels": {"a": TOKEN, "b": "https://user:hunter2@host"}},
        {TOKEN: 1},
        {"lora": {TOKEN: 1}},
        {"learning_rate": TOKEN},
        {"loss_type": TOKEN},
        {"extra_dependencies": ["x @ git+https://u:hunter2@gitlab.com/a/b.git"]},
    ],
)
def test_whatever_is_said_of_a_secret_does_not_show_it(fields: dict[str, Any]) -> None:
    report = hft.check(base(fields), facts=Facts())
    assert report.problems
    told = str(report) + repr(report)
    assert TOKEN not in told
    assert "hunter2" not in told


@pytest.mark.parametrize("fields", [{"secrets": ["PLAIN=hunter2"]}, {"env": {"URI": "https://u:hunter2@host"}}])
def test_no_spec_shows_a_secret(fields: dict[str, Any]) -> None:
    assert "hunter2" not in repr(hft.SFT(model="me/model", dataset="me/data", **fields))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f'login("{TOKEN}")', "a Hugging Face token"),
        ('db = "postgresql://app:hunter2@db/train"', "a URL with a password"),
        ('db = f"postgresql://{user}:{password}@db/train"', None),
        ("# git clone https://user:${TOKEN}@host/a.git", None),
        ("# postgresql://user:password@host", None),
        ('url = "http://localhost:8000/@me"', None),
    ],
)
def test_a_script_that_exists_has_no_token(line: str, kind: str | None) -> None:
    facts = Facts(script=ScriptFacts(text=f"{line}\n", sha256="0" * 64))
    found = told("SEC002", hft.check(base({"method": "script"}), facts=facts).problems)
    instead = "revoke it, and read a new one from the environment"
    why = f"the script contains {kind}, and everyone who can see the job can read it: {instead}"
    expected = ("script", why, "")
    assert found == ([expected] if kind else [])
    if kind:
        with pytest.raises(hft.SpecError):
            hft.plan(base({"method": "script"}), facts=facts)


Write = Callable[[str, str | None], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def put(name: str, text: str | None) -> str:
        if text is not None:
            Path(name).write_text(text, encoding="utf-8")
        return name

    return put


@pytest.mark.parametrize("code", sorted(load.CODES))
def test_bad_file_is_told(code: str, write: Write) -> None:
    known = case(code)
    with pytest.raises(hft.SpecError) as raised:
        hft.load(write(*known.bad), strict=code == "LOAD007")
    assert told(code, raised.value.problems) == known.expected


@pytest.mark.parametrize("code", sorted(load.CODES))
def test_good_file_is_read(code: str, write: Write) -> None:
    assert hft.load(write(*case(code).good), strict=True).model == "me/model"


@pytest.mark.parametrize("code", sorted(schedule.CODES))
def test_bad_schedule_is_told(code: str) -> None:
    known = case(code)
    for case_, expected in ((known.bad, known.expected), (known.good, [])):
        fields, when = case_
        plan = schedule.on_schedule(hft.plan(base(fields), facts=Facts()), when, is_possible=True)
        assert told(code, plan.problems) == expected
        assert plan.request.schedule == when
