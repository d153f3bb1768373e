"""Where rules live, whom they concern, and what becomes of those that cannot be applied."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.rules import area
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.check import all_rules, rules_for, run_rules
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import RULES, Found, rule
from hfjobs_trainer.specs.base import JobSpec
from hfjobs_trainer.specs.methods.dpo import DPO

FIELDS = [set(spec.model_fields) for spec in hft.METHODS.values()]
SPECIAL = set[str]().union(*FIELDS) - set[str].intersection(*FIELDS)
"""Fields that some methods do not have."""

SHARED, OWN = "hfjobs_trainer.planning.rules.", "hfjobs_trainer.specs.methods."


@pytest.mark.parametrize("code", sorted(all_rules()))
def test_a_rule_is_in_the_file_that_its_code_names(code: str) -> None:
    found = all_rules()[code]
    module = found.check.__module__
    if module.startswith(OWN):
        # what several methods share is loaded with any of them
        assert found.methods == (module.removeprefix(OWN),)
    # of several methods it is their fields or their training step that call for a rule
    assert len(found.methods) <= 1
    file = module.removeprefix(OWN).removeprefix(SHARED).split(".")[0]
    assert file.upper() == area(code)


@pytest.mark.parametrize("code", sorted(all_rules()))
def test_a_rule_concerns_a_method_or_scripts(code: str) -> None:
    assert [spec for spec in (*hft.METHODS.values(), hft.Script) if all_rules()[code] in rules_for(spec)]


@pytest.mark.parametrize("code", [code for code, found in all_rules().items() if not found.methods])
def test_a_rule_reads_only_the_fields_that_it_asks_for(code: str) -> None:
    found = all_rules()[code]
    tree = ast.parse(inspect.getsource(found.check))
    read = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = {text.rpartition(".")[2] for text in read if text.rpartition(".")[0] in ("spec", "context.spec")}
    assert names & SPECIAL <= {*found.fields, *found.any_field}


@pytest.fixture
def extended() -> type[DPO]:
    # not registered: the methods of the other tests stay what they are
    class Extended(DPO):
        METHOD = replace(DPO.METHOD, name="extended", extends=DPO.METHOD.lineage)

    return Extended


def test_a_method_keeps_the_rules_of_those_it_extends(extended: type[DPO]) -> None:
    assert extended.METHOD.lineage == ("extended", "dpo")
    codes = [item.code for item in rules_for(extended)]
    assert codes == [item.code for item in rules_for(DPO)]
    assert {"DPO001", "DPO004", "DATA001"} <= set(codes)
    assert not {"GRPO001", "SFT001", "SCRIPT001"} & set(codes)


def test_what_a_base_refuses_is_refused(extended: type[DPO]) -> None:
    spec = extended(model="me/model", dataset="me/data", loss_type="exo_pair", padding_free=True)
    problems, _ = run_rules(Context(spec), ["spec"])
    assert [problem.code for problem in problems if problem.code.startswith("DPO")] == ["DPO001", "DPO007"]


def test_the_rules_of_a_spec_load_no_other_method() -> None:
    code = """
import sys
import hfjobs_trainer as hft
spec = hft.SFT(model="me/model", dataset="me/data", packing=True)
hft.check(spec, facts=hft.Facts())
try:
    hft.SFT(model="me/model", dataset="me/data", learning_rate="fast")
except hft.SpecError:
    print(*(name.rpartition(".")[2] for name in sys.modules if name.startswith("hfjobs_trainer.specs.methods.")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sft"]


@pytest.fixture
def defect() -> Iterator[None]:
    @rule("TEST001")
    def lacks_an_attribute(context: Context[JobSpec]) -> Iterator[Found]:
        """It has a defect."""
        yield Found("labels", str(getattr(context, "no_such_attribute")))  # noqa: B009 - a name that nothing has

    yield
    del RULES["TEST001"]
    assert lacks_an_attribute


@pytest.mark.usefixtures("defect")
@pytest.mark.parametrize("fields", [{}, {"learning_rate": "fast"}, {"model": 1}])
def test_a_defect_of_a_rule_is_seen(fields: dict[str, object]) -> None:
    spec = {"method": "sft", "model": "me/model", "dataset": "me/data", **fields}
    (problem,) = hft.check(spec, facts=Facts()).problems
    assert (problem.code, problem.severity) == ("SPEC008", "error")
    assert "AttributeError at test_house.py" in problem.why
    if not fields:
        with pytest.raises(AttributeError, match="no_such_attribute"):
            hft.plan(spec, facts=Facts())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # what is wrong with the fields that did parse is told
        ({"learning_rate": "fast", "fp16": True, "bf16": True}, ["SPEC003", "PREC001"]),
        # a rule that needs the other field says nothing
        ({"fp16": "maybe", "bf16": True}, ["SPEC003"]),
        ({"eval_strategy": "steps", "eval_dataset": 1}, ["SPEC003"]),
        # nor does one that would speak of the placeholder
        ({"model": 1, "packing": True, "max_length": None}, ["SPEC003", "SFT002"]),
    ],
)
def test_rules_look_at_what_did_parse(fields: dict[str, object], expected: list[str]) -> None:
    spec = {"method": "sft", "model": "me/model", "dataset": "me/data", **fields}
    problems = hft.check(spec, facts=Facts(), backend="local").problems
    assert [problem.code for problem in problems] == expected
