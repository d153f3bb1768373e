"""From what the user typed to a spec, or to every problem with it at once."""

from __future__ import annotations

import pickle
from typing import Any, get_args

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts.backends import LOCAL
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.parse import parse
from hfjobs_trainer.specs.registry import METHODS
from tests.specs.building import problems_of, required, sft

# -- all at once


def test_where_a_spec_would_run_is_not_guessed() -> None:
    raw = {"method": "sft", "model": "me/a", "dataset": "me/b", "typo": 1, "hardware": {"nodes": 2, "attempts": 3}}
    assert [problem.code for problem in parse(raw)[1]] == ["SPEC004"]
    assert [problem.code for problem in parse(raw, backend=LOCAL)[1]] == ["SPEC004", "JOB010", "NODE001"]


def test_problems_of_every_kind_come_at_once() -> None:
    with pytest.raises(SpecError) as raised:
        hft.DPO(
            model=3,  # type: ignore[arg-type]
            betta=0.2,  # type: ignore[call-arg]
            max_prompt_length=128,
            hub_token="x",
            hub_model_id="me/a",
            output={"hub_model_id": "me/b"},
            timeout="soon",
            lora={"rank": 8, "r": 0},
            eval_strategy="steps",
            loss_type="exo_pair",
        )
    assert [(problem.code, problem.path) for problem in raised.value.problems] == [
        ("SPEC004", "betta"),
        ("SPEC005", "max_prompt_length"),
        ("SPEC006", "hub_token"),
        ("SPEC007", "hub_model_id"),
        ("SPEC003", "timeout"),
        ("SPEC003", "model"),
        ("SPEC002", "dataset"),
        ("SPEC003", "lora.r"),
        ("SPEC004", "lora.rank"),
        ("DATA001", "eval_strategy"),
        ("DPO001", "label_smoothing"),
    ]


def test_rules_do_not_speak_of_what_did_not_parse() -> None:
    found = problems_of("sft", eval_strategy="step", eval_steps=3, load_best_model_at_end=True)
    assert [problem.code for problem in found.values()] == ["SPEC003"]


def test_the_message_counts_and_lists_them() -> None:
    with pytest.raises(SpecError) as raised:
        hft.DPO(**required("dpo"), betta=0.2, eval_strategy="steps")  # type: ignore[call-arg]
    assert str(raised.value) == (
        "2 problems in this DPO spec; nothing was submitted\n"
        "  SPEC004 betta: not an argument of DPOConfig (TRL 1.16.0); beta is\n"
        "      fix: beta=0.2\n"
        '  DATA001 eval_strategy: eval_strategy="steps" needs an evaluation set: give eval_dataset or eval_fraction\n'
        "      fix: eval_fraction=0.1"
    )


def test_constructing_tells_what_is_wrong_everywhere_and_check_also_what_fails_on_the_hub() -> None:
    fields = {**required("sft"), "method": "sft", "betta": 1}
    told = {where: [item.code for item in hft.check(fields, backend=where)] for where in ("hub", "local")}
    assert told["local"] == [problem.code for problem in problems_of("sft", betta=1).values()] == ["SPEC004"]
    # what needs a machine to be chosen waits until the spec is whole
    assert told["hub"] == ["SPEC004", "HUB005"]


def test_the_error_survives_a_process_boundary() -> None:
    with pytest.raises(SpecError) as raised:
        sft(timeout="soon")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.problems, str(again)) == (raised.value.problems, str(raised.value))


# -- what is no spec


KNOWN = ", ".join(f'"{method}"' for method in METHODS)


@pytest.mark.parametrize(
    ("raw", "path", "why"),
    [
        (None, "", "a spec is needed, or a mapping with the key method, not None"),
        ("sft", "", "a spec is needed, or a mapping with the key method, not a str"),
        ([1], "", "a spec is needed, or a mapping with the key method, not a list"),
        ({}, "method", "is missing: one of " + KNOWN),
        ({"method": None}, "method", "is missing: one of " + KNOWN),
        ({"method": ["sft"]}, "method", "must be one of " + KNOWN),
        ({"method": "PO"}, "method", "must be one of " + KNOWN),
        ({1: 2}, "method", "is missing: one of " + KNOWN),
    ],
)
def test_what_is_no_spec(raw: Any, path: str, why: str) -> None:
    [problem] = hft.check(raw).problems
    assert (problem.code, problem.path, problem.why) == ("SPEC001", path, why)
    with pytest.raises(SpecError):
        hft.plan(raw)


@pytest.mark.parametrize(("typed", "meant"), [("SFT", "sft"), ("dop", "dpo"), ("gpro", "grpo")])
def test_a_method_is_suggested(typed: str, meant: str) -> None:
    assert hft.check({"method": typed}).problems[0].fix == f'method="{meant}"'


def test_a_spec_is_taken_as_it_is() -> None:
    spec = sft()
    assert parse(spec) == (spec, [], "SFT spec")


def test_keys_that_are_no_text_are_told() -> None:
    spec, problems, _ = parse({"method": "sft", **required("sft"), 7: 1})
    assert spec is None
    assert [problem.path for problem in problems] == ["7"]


def test_the_method_of_another_class_is_refused() -> None:
    assert problems_of("sft", method="dpo")["method"].fix == 'method="sft"'
    assert sft(method="sft") == sft()


# -- types


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"learning_rate": "2e-5"}, "learning_rate"),
        ({"num_train_epochs": "3"}, "num_train_epochs"),
        ({"packing": 1}, "packing"),
        ({"seed": 1.5}, "seed"),
        ({"timeout": True}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -5}, "timeout"),
        ({"eval_fraction": 0.0}, "eval_fraction"),
        ({"global_batch_size": 0}, "global_batch_size"),
        ({"model": ""}, "model"),
        ({"env": {"A": 1}}, "env.A"),
        ({"env": ["A=1"]}, "env"),
        ({"secrets": "HF_TOKEN"}, "secrets"),
        ({"dataset": [1]}, "dataset"),
        ({"lora": 1}, "lora"),
        ({"max_steps": None}, "max_steps"),
    ],
)
def test_values_are_of_their_type(fields: dict[str, Any], path: str) -> None:
    found = problems_of("sft", **fields)
    assert found[path].code == "SPEC003"
    assert found.keys() == {path}


def test_no_message_repeats_a_value() -> None:
    token = "hf_" + "a" * 34
    for fields in (
        {"env": token},
        {"timeout_padding": token},
        {"timeout": token},
        {"secrets": {token: 1}},
        {"labels": [token]},
    ):
        with pytest.raises(SpecError) as raised:
            sft(**fields)
        assert token not in str(raised.value)


def test_grpo_needs_a_reward() -> None:
    with pytest.raises(SpecError) as raised:
        hft.GRPO(model="me/model", dataset="me/data")
    assert [(problem.code, problem.path) for problem in raised.value.problems] == [("SPEC002", "reward_funcs")]
    assert problems_of("grpo", reward_funcs=[])["reward_funcs"].code == "SPEC003"


# -- the table of methods


@pytest.mark.parametrize(
    ("given", "fix"), [(False, "None"), ("none", "None"), ("off", "None"), ("Bucket", '"bucket"'), ("disk", "")]
)
def test_no_checkpoints_are_none(given: Any, fix: str) -> None:
    problem = problems_of("sft", output={"checkpoints": given})["output.checkpoints"]
    assert problem.why == "must be 'auto', 'bucket', 'hub' or None"
    assert problem.fix == (f'output={{"checkpoints": {fix}}}' if fix else "")


def test_every_literal_of_the_hub_strategy_is_taken() -> None:
    for strategy in get_args(names.HubStrategy):
        output = sft(hub_strategy=strategy).output
        # one of them is another field's
        kept = (None, "hub") if strategy == "checkpoint" else (strategy, "auto")
        assert (output.hub_strategy, output.checkpoints) == kept


@pytest.mark.parametrize("place", ["auto", "bucket", None])
def test_checkpoints_are_kept_in_one_place(place: str | None) -> None:
    same = hft.Output(hub_model_id="me/x", checkpoints="hub")
    assert sft(hub_strategy="checkpoint", output=same) == sft(output=same)
    assert sft(output={"hub_model_id": "me/x", "hub_strategy": "checkpoint"}).digest == sft(output=same).digest
    assert sft(output=same).replace(hub_strategy="end").output.checkpoints == "hub"
    problems = problems_of("sft", hub_strategy="checkpoint", output={"checkpoints": place})
    assert problems["output"].code == "SPEC007"


def test_methods_are_specs() -> None:
    assert {name: spec.METHOD.name for name, spec in METHODS.items()} == {name: name for name in METHODS}
    assert all(issubclass(spec, TrainSpec) for spec in METHODS.values())
    assert len(METHODS) == len(list(METHODS))
    with pytest.raises(KeyError):
        METHODS["pop"]
