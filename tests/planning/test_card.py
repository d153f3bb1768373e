"""The card says how a model was made; of a public one, nothing that concerns its owner alone."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import ModelCardData

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts, TargetFacts
from hfjobs_trainer.specs.load import load_stored

SHA = "0123456789" * 4
FACTS = Facts(
    model=ModelFacts(exists=True, sha=SHA, model_type="qwen2", license="apache-2.0"),
    dataset=DatasetFacts(exists=True, num_rows=1000),
    account=AccountFacts(has_token=True, name="payer"),
)
SPEC: dict[str, Any] = {
    "method": "sft",
    "model": "me/base",
    "dataset": "me/rows",
    "hardware": {"flavor": "l4x1", "max_usd": 77.5, "max_usd_per_hour": 2.25},
    "namespace": "payer",
    "env": {"MY_SETTING": "my-value"},
    "labels": {"team": "my-label"},
    "secrets": ["MY_SECRET"],
    "tracking": {"project": "my-project", "space_id": "payer/board", "group": "my-group"},
    "output": {"hub_model_id": "me/out"},
    "output_dir": "/home/alice/out",
}
OWN = ("payer", "MY_SETTING", "my-value", "my-label", "MY_SECRET", "my-project", "my-group", "alice", "77.5", "2.25")


def block(fields: dict[str, Any], facts: Facts = FACTS) -> dict[str, Any]:
    """What the block at the end of the script holds."""
    script = hft.plan({**SPEC, **fields}, facts=facts).script
    text = script.rpartition("\n# /// hfjobs-trainer\n")[2]
    return tomllib.loads("\n".join(line[2:] for line in text.split("\n")[:-2]))


def shown(found: dict[str, Any]) -> str:
    """All of it that leaves the machine with the model."""
    spec = found["spec"] if "published" not in found else ""
    return json.dumps([found["card"], found["metadata"], found.get("published", spec)])


def public(fields: dict[str, Any] | None = None) -> dict[str, Any]:
    return block({"output": {"hub_model_id": "me/out", "private": False}, **(fields or {})})


def test_a_private_card_says_all() -> None:
    found = block({})

    lines = found["card"].split("\n")
    assert f"- model: [me/base](https://huggingface.co/me/base/tree/{SHA}), 012345678901" in lines
    job = "https://huggingface.co/jobs/payer/%(job)s"
    assert f"- job {job}: about %(usd)s US dollars at 0.80 an hour" in lines
    assert found["usd_per_hour"] == 0.8
    assert found["metadata"] == {"license": "apache-2.0", "datasets": ["me/rows"]}
    assert "published" not in found
    assert json.loads(found["spec"])["env"] == {"MY_SETTING": "my-value"}


def test_a_public_one_says_nothing_of_who_paid() -> None:
    found = public()

    text = shown(found)
    assert [word for word in OWN if word in text] == []
    assert not re.search(r"dollars|huggingface\.co/jobs|usd|l4x1", found["card"])
    assert "usd_per_hour" not in found
    spec = json.loads(found["published"]["spec"])
    assert spec.keys() == {"method", "model", "dataset", "hardware", "output", "output_dir"}
    loaded = load_stored("me/out", json.dumps({"digest": "0" * 64, "spec": spec}))
    assert loaded.to_dict() == spec


def test_a_repository_that_is_public_already_stays_public() -> None:
    there = TargetFacts("me/out", exists=True, private=False)

    assert "published" in block({}, replace(FACTS, target=there))
    assert "published" not in block({}, replace(FACTS, target=replace(there, private=True)))


def test_a_public_card_leads_to_no_private_dashboard() -> None:
    badge = '[<img src="https://raw.githubusercontent.com/x/badge.png" alt="Visualize"/>](https://me-t.hf.space?a=b)'
    tags = ["trl", "trackio:https://payer-board.hf.space?project=my project&runs=a: b&sidebar=collapsed", "sft"]
    data: Any = ModelCardData(tags=tags)
    text = f"---\n{data.to_yaml()}\n---\n\n# Model\n\n{badge} \n\nTrained with SFT.\n"

    for old, new in public()["replaces"].items():
        text = re.sub(old, new, text)

    assert "hf.space" not in text
    assert "- trl\n- sft\n" in text
    assert text.endswith("\n\nTrained with SFT.\n")
    open_board = {"tracking": {"space_id": "payer/board", "private": False}}
    assert "replaces" not in public(open_board)


@pytest.mark.parametrize(
    "name",
    [
        "a|b.jsonl",
        "a](https://evil.example).jsonl",
        "<script>.jsonl",
        "%(usd)s %s.jsonl",
        "a`b'''\"\"\".jsonl",
        "é\u202e.jsonl",
    ],
)
def test_no_name_is_more_than_a_name(name: str) -> None:
    found = block({"dataset": f"./{name}"})

    (row,) = (line for line in found["card"].split("\n") if line.startswith("- dataset:"))
    assert "|" not in row
    assert row.isascii()
    assert not set("[]<>`'\"%\\") & set(row)
    assert row % {} == row


@pytest.mark.parametrize("make", [block, public])
def test_local_data_are_told_by_name(make: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    found = make({"dataset": "./private/plans/rows.jsonl"})
    assert "private/plans" not in found["card"]
    assert "- dataset: rows.jsonl" in found["card"].split("\n")
    assert "private/plans" not in shown(found) or "published" not in found


def test_it_says_how_to_load_what_is_pushed() -> None:
    def rows(**fields: Any) -> list[str]:
        return [line for line in block(fields)["card"].split("\n") if line.startswith("- loaded by")]

    both = {"lora": {}, "output": {"hub_model_id": "me/out", "merge_adapter": "both"}}
    whole = '- loaded by `AutoModelForCausalLM.from_pretrained("%(transformers)s")`'
    adapter = '- loaded by `AutoPeftModelForCausalLM.from_pretrained("%(peft)s")`'
    assert rows() == [whole]
    assert rows(lora={}) == [adapter]
    assert rows(**both) == [adapter, whole]


def test_a_model_that_stays_here_has_no_card() -> None:
    assert block({"output": {}}).keys() == {"digest", "spec"}
