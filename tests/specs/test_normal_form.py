"""One spec has one normal form and one digest, and is changed by ``replace`` alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.specs.parse import merged, parse
from hfjobs_trainer.specs.registry import METHODS
from tests.specs.building import required, sft

# -- shorthands and digests


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"dataset": "me/data"}, {"dataset": {"id": "me/data"}}),
        ({"dataset": "me/data"}, {"dataset": hft.Dataset(id="me/data")}),
        ({"hardware": "l4x1"}, {"hardware": hft.Hardware(flavor="l4x1")}),
        ({"timeout": "90m"}, {"timeout": 5400}),
        ({"timeout": "1h30m"}, {"timeout": timedelta(minutes=90)}),
        ({"lora": {"alpha": 8, "dropout": 0.1, "lora_r": 4}}, {"lora": hft.LoRA(r=4, lora_alpha=8, lora_dropout=0.1)}),
        ({"learning_rate": 1}, {"learning_rate": 1.0}),
        ({"warmup_steps": 10}, {"warmup_steps": 10.0}),
        ({"tracking": {"name": "x"}}, {"run_name": "x"}),
    ],
)
def test_shorthands_have_one_normal_form(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert sft(**one) == sft(**other)
    assert sft(**one).digest == sft(**other).digest
    assert hash(sft(**one)) == hash(sft(**other))


def test_loss_types_have_one_normal_form() -> None:
    fields = required("dpo")
    assert hft.DPO(**fields, loss_type="ipo").digest == hft.DPO(**fields, loss_type=["ipo"]).digest


def test_different_specs_have_different_digests() -> None:
    specs = [sft(), sft(seed=1), sft(seed=42), sft(dataset="me/other"), hft.DPO(**required("dpo"))]
    assert len({spec.digest for spec in specs}) == len(specs)


def test_the_order_of_fields_does_not_matter() -> None:
    assert sft(seed=1, max_steps=2).digest == sft(max_steps=2, seed=1).digest


@pytest.mark.parametrize("method", METHODS)
def test_the_normal_form_is_read_back(method: str) -> None:
    spec = METHODS[method](**required(method), timeout="3h", lora={"alpha": 8}, env={"A": "é"}, hardware="l4x1")
    again, problems, _ = parse(spec.to_dict())
    assert not problems
    assert again == spec
    assert again is not None
    assert again.digest == spec.digest


# -- replace


def test_replace_changes_and_keeps() -> None:
    spec = sft(learning_rate=1e-5, output={"hub_model_id": "me/a", "private": False}, lora={"r": 8})
    changed = spec.replace(learning_rate=2e-5, hub_model_id="me/b")
    assert changed.learning_rate == 2e-5
    assert changed.output == hft.Output(hub_model_id="me/b", private=False)
    assert changed.lora == hft.LoRA(r=8)
    assert spec.output.hub_model_id == "me/a"


def test_replace_with_none_unsets() -> None:
    spec = sft(lora={"r": 8}, eval_fraction=0.1, seed=3)
    bare = spec.replace(lora=None, eval_fraction=None)
    assert bare == sft(seed=3)
    assert not bare.is_set("lora")


def test_replace_with_none_keeps_a_none_that_means_something() -> None:
    changed = sft(max_length=512).replace(max_length=None)
    assert changed.is_set("max_length")
    assert changed.max_length is None


def test_replace_unsets_a_folded_name() -> None:
    assert sft(hub_model_id="me/a").replace(hub_model_id=None).output.hub_model_id is None


def test_replace_validates() -> None:
    with pytest.raises(SpecError, match="SPEC004 betta"):
        sft().replace(betta=1)


def test_replace_of_nothing_is_the_same() -> None:
    spec = sft(lora={"r": 8}, timeout="3h")
    assert spec.replace() == spec
    assert merged(spec, {}) == {"model": "me/model", "dataset": spec.dataset, "lora": spec.lora, "timeout": 10800}
