"""Groups, on their own and inside a spec."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.specs.group import Group
from tests.specs.building import problems_of, sft


@pytest.mark.parametrize(
    ("group", "fields", "path", "code"),
    [
        (hft.LoRA, {"rr": 3}, "rr", "SPEC004"),
        (hft.LoRA, {"r": 0}, "r", "SPEC003"),
        (hft.LoRA, {"alpha": 1, "lora_alpha": 2}, "", "SPEC007"),
        (hft.Dataset, {}, "id", "SPEC002"),
        (hft.Dataset, {"id": 3}, "id", "SPEC003"),
        (hft.Hardware, {"strategy": "dp"}, "strategy", "SPEC003"),
        (hft.Tracking, {"report_to": "neptune"}, "report_to", "SPEC003"),
        (hft.Output, {"privat": True}, "privat", "SPEC004"),
    ],
)
def test_a_group_on_its_own_raises_spec_error(group: type[Group], fields: dict[str, Any], path: str, code: str) -> None:
    with pytest.raises(SpecError) as raised:
        group(**fields)
    [problem] = raised.value.problems
    assert (problem.path, problem.code) == (path, code)
    assert raised.value.subject == group.__name__


def test_an_unknown_field_of_a_group_has_a_suggestion() -> None:
    with pytest.raises(SpecError, match="fix: hub_model_id"):
        hft.Output(hub_mode_id="me/x")  # type: ignore[call-arg]


def test_aliases_of_lora() -> None:
    assert hft.LoRA(alpha=8, dropout=0.5, lora_r=4) == hft.LoRA(lora_alpha=8, lora_dropout=0.5, r=4)  # type: ignore[call-arg]


def test_every_problem_of_every_group_has_its_path() -> None:
    found = problems_of("sft", lora={"rr": 3, "r": 0}, dataset={"split": 1}, hardware={"flavr": "x"}, tracking=4)
    assert found.keys() == {"lora.rr", "lora.r", "dataset.id", "dataset.split", "hardware.flavr", "tracking"}


def test_a_group_is_copied_and_pickled() -> None:
    lora = hft.LoRA(r=4)
    assert pickle.loads(pickle.dumps(lora)) == lora
    assert lora.model_fields_set == {"r"}


def test_specs_and_groups_cannot_be_changed() -> None:
    spec = sft(lora={"r": 4})
    for target, name in ((spec, "seed"), (spec.lora, "r")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(target, name, 1)
