"""From what the user typed to a spec, or to every problem with it at once."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hfjobs_trainer as hft
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.durations import format_duration, parse_duration
from hfjobs_trainer.specs.groups import Group
from hfjobs_trainer.specs.names import _COMMON_RENAMES, _METHOD_RENAMES
from hfjobs_trainer.specs.parse import merged, parse
from hfjobs_trainer.specs.registry import METHODS


def required(method: str) -> dict[str, Any]:
    rewards = {"reward_funcs": "think_format_reward"} if method == "grpo" else {}
    return {"model": "me/model", "dataset": "me/data", **rewards}


def problems_of(method: str, /, **fields: Any) -> dict[str, Problem]:
    with pytest.raises(SpecError) as raised:
        METHODS[method](**required(method) | fields)
    return {problem.path: problem for problem in raised.value.problems}


def sft(**fields: Any) -> hft.SFT:
    return hft.SFT(**{"model": "me/model", "dataset": "me/data", **fields})


# -- all at once


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
        ("SPEC003", "model"),
        ("SPEC002", "dataset"),
        ("SPEC003", "lora.r"),
        ("SPEC004", "lora.rank"),
        ("SPEC003", "timeout"),
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
        "  SPEC004 betta: is no argument of DPOConfig in the pinned TRL, and no field of DPO\n"
        "      fix: beta\n"
        '  DATA001 eval_strategy: eval_strategy="steps" needs an evaluation set: give eval_dataset or eval_fraction\n'
        "      fix: eval_fraction=0.1"
    )


def test_constructing_tells_what_is_wrong_everywhere_and_check_also_what_fails_on_the_hub() -> None:
    fields = {**required("sft"), "method": "sft", "betta": 1}
    told = {where: [item.code for item in hft.check(fields, backend=where)] for where in ("hub", "local")}
    assert told["local"] == [problem.code for problem in problems_of("sft", betta=1).values()] == ["SPEC004"]
    assert told["hub"] == ["SPEC004", "HUB005", "JOB001"]


def test_the_error_survives_a_process_boundary() -> None:
    with pytest.raises(SpecError) as raised:
        sft(timeout="soon")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.problems, str(again)) == (raised.value.problems, str(raised.value))


# -- what is no spec


@pytest.mark.parametrize(
    ("raw", "path", "why"),
    [
        (None, "", "a spec is needed, or a mapping with the key method, not a NoneType"),
        ("sft", "", "a spec is needed, or a mapping with the key method, not a str"),
        ([1], "", "a spec is needed, or a mapping with the key method, not a list"),
        ({}, "method", 'is missing: one of "dpo", "grpo", "sft"'),
        ({"method": None}, "method", 'is missing: one of "dpo", "grpo", "sft"'),
        ({"method": ["sft"]}, "method", 'must be one of "dpo", "grpo", "sft"'),
        ({"method": "PPO"}, "method", 'must be one of "dpo", "grpo", "sft"'),
        ({1: 2}, "method", 'is missing: one of "dpo", "grpo", "sft"'),
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


# -- names


@pytest.mark.parametrize(
    ("method", "typed", "meant"),
    [
        ("dpo", "betta", "beta"),
        ("sft", "learning_rat", "learning_rate"),
        ("sft", "hub_model", "hub_model_id"),
        ("sft", "pakcing", "packing"),
        ("grpo", "num_generation", "num_generations"),
        ("sft", "zzz", ""),
    ],
)
def test_typos_have_a_suggestion(method: str, typed: str, meant: str) -> None:
    problem = problems_of(method, **{typed: 1})[typed]
    assert (problem.code, problem.fix) == ("SPEC004", meant)


RENAMES = [
    (method, old, new) for method in METHODS for old, new in (_COMMON_RENAMES | _METHOD_RENAMES.get(method, {})).items()
]


@pytest.mark.parametrize(("method", "old", "new"), RENAMES)
def test_old_names_are_refused_with_todays(method: str, old: str, new: str) -> None:
    spec = METHODS[method]
    assert old not in spec.model_fields
    assert old not in names.FOLDED
    problem = problems_of(method, **{old: 1})[old]
    told = _METHOD_RENAMES.get(method, {}).get(old, new)
    assert problem.code == "SPEC005"
    assert problem.fix == (
        "leave it out" + told.removeprefix("nothing") if told.startswith("nothing") else f"use {told}"
    )


@pytest.mark.parametrize(("method", "old", "new"), RENAMES)
def test_todays_name_exists(method: str, old: str, new: str) -> None:
    if new.startswith("nothing"):
        return
    # the first word is the argument to use: "warmup_steps, which ...", 'optim="adafactor"', "lora=hft.LoRA(...)"
    name = new.replace("=", " ").replace(",", " ").split()[0]
    assert name in METHODS[method].model_fields or name in names.FOLDED


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", names.REFUSED)
def test_refused_names_say_why(method: str, name: str) -> None:
    problem = problems_of(method, **{name: 1})[name]
    assert (problem.code, (problem.why, problem.fix)) == ("SPEC006", names.REFUSED[name])


def test_a_static_space_is_refused_unless_it_is_off() -> None:
    assert problems_of("sft", trackio_static_space_id="me/x")["trackio_static_space_id"].code == "SPEC006"
    assert sft(trackio_static_space_id=False) == sft()


# -- folding

FLAT: dict[str, Any] = {
    "push_to_hub": True,
    "hub_model_id": "me/out",
    "hub_private_repo": False,
    "hub_strategy": "end",
    "run_name": "first",
    "project": "chat",
    "trackio_space_id": "me/trackio",
    "trackio_bucket_id": "me/bucket",
    "report_to": "none",
    "fsdp": "full_shard",
    "fsdp_config": {"version": 2},
    "deepspeed": {"zero_optimization": {"stage": 3}},
    "accelerator_config": {"split_batches": True},
}


def test_every_folded_name_is_tried() -> None:
    assert FLAT.keys() == names.FOLDED.keys() == names.FOLDED_TYPES.keys() - {"trackio_static_space_id"}


@pytest.mark.parametrize("name", FLAT)
def test_flat_and_grouped_are_one_spec(name: str) -> None:
    group, key = names.FOLDED[name]
    flat, grouped = sft(**{name: FLAT[name]}), sft(**{group: {key: FLAT[name]}})
    both = sft(**{name: FLAT[name], group: {key: FLAT[name]}})
    assert flat == grouped == both
    assert flat.digest == grouped.digest == both.digest
    assert getattr(getattr(flat, group), key) == FLAT[name]
    assert name not in flat.to_dict()


@pytest.mark.parametrize("name", FLAT)
def test_flat_and_grouped_may_not_contradict(name: str) -> None:
    group, key = names.FOLDED[name]
    other = {"report_to": "trackio", "hub_strategy": "checkpoint"}.get(name, "other")
    other = (not FLAT[name]) if isinstance(FLAT[name], bool) else {"x": 1} if isinstance(FLAT[name], dict) else other
    problem = problems_of("sft", **{name: FLAT[name], group: {key: other}})[name]
    assert (problem.code, problem.fix) == ("SPEC007", f"give one of {name} and {group}.{key}")


@pytest.mark.parametrize("group", [{"flavor": "a10g-large"}, hft.Hardware(flavor="a10g-large"), "a10g-large"])
def test_flat_names_join_a_group_however_it_is_written(group: Any) -> None:
    spec = sft(hardware=group, fsdp=True)
    assert spec.hardware == hft.Hardware(flavor="a10g-large", fsdp=True)


@pytest.mark.parametrize(("key", "field"), names.FOLDED_MODEL_INIT.items())
def test_model_init_kwargs_are_folded(key: str, field: str) -> None:
    value = "bfloat16" if key == "dtype" else "x"
    spec = sft(model_init_kwargs={key: value, "use_cache": False})
    assert spec == sft(**{field: value, "model_init_kwargs": {"use_cache": False}})
    assert sft(model_init_kwargs={key: value}) == sft(**{field: value})
    other = "float16" if key == "dtype" else "y"
    found = problems_of("sft", **{field: other, "model_init_kwargs": {key: value}})
    assert found[f"model_init_kwargs.{key}"].code == "SPEC007"


def test_report_to_takes_a_list_of_one() -> None:
    assert sft(report_to=["trackio"]) == sft(report_to="trackio")
    assert problems_of("sft", report_to=["trackio", "wandb"])["tracking.report_to"].code == "SPEC003"


def test_a_group_of_the_wrong_type_is_one_problem() -> None:
    found = problems_of("sft", output=3, hub_model_id="me/x")
    assert [(problem.code, problem.path) for problem in found.values()] == [("SPEC003", "output")]


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


# -- groups


@pytest.mark.parametrize(
    ("group", "fields", "path", "code"),
    [
        (hft.LoRA, {"rr": 3}, "rr", "SPEC004"),
        (hft.LoRA, {"r": 0}, "r", "SPEC003"),
        (hft.LoRA, {"alpha": 1, "lora_alpha": 2}, "", "SPEC007"),
        (hft.Dataset, {}, "id", "SPEC002"),
        (hft.Dataset, {"id": 3}, "id", "SPEC003"),
        (hft.Hardware, {"strategy": "dp"}, "strategy", "SPEC003"),
        (hft.Tracking, {"report_to": "wandb"}, "report_to", "SPEC003"),
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
        ({"dataset": ["a"]}, "dataset"),
        ({"lora": True}, "lora"),
        ({"max_steps": None}, "max_steps"),
    ],
)
def test_values_are_of_their_type(fields: dict[str, Any], path: str) -> None:
    found = problems_of("sft", **fields)
    assert found[path].code == "SPEC003"
    assert found.keys() == {path}


def test_no_message_repeats_a_value() -> None:
    token = "hf_" + "a" * 34
    for fields in ({"env": token}, {"timeout_padding": token}, {"secrets": {token: 1}}, {"labels": [token]}):
        with pytest.raises(SpecError) as raised:
            sft(**fields)
        assert token not in str(raised.value)


def test_grpo_needs_a_reward() -> None:
    with pytest.raises(SpecError) as raised:
        hft.GRPO(model="me/model", dataset="me/data")
    assert [(problem.code, problem.path) for problem in raised.value.problems] == [("SPEC002", "reward_funcs")]
    assert problems_of("grpo", reward_funcs=[])["reward_funcs"].code == "SPEC003"


# -- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1 hour and 30 minutes", 5400),
        ("30min", 1800),
        ("2H", 7200),
        ("1.5h", 5400),
        ("2:30:00", 9000),
        ("0:45", 2700),
        ("5400", 5400),
        ("1d", 86400),
        (" 3h ", 10800),
        (5400, 5400),
        (0.5, 1),
        (timedelta(hours=1), 3600),
    ],
)
def test_durations_are_read_generously(text: Any, seconds: int) -> None:
    assert parse_duration(text) == seconds
    assert sft(timeout=text).timeout == seconds


@pytest.mark.parametrize("text", ["", "soon", "3x", "h3", "3h x", "-1h", "0", "0h", "1:2", "nan", "inf", "1h30", "--"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
    assert problems_of("sft", timeout=text)["timeout"].code == "SPEC003"


@given(st.integers(min_value=1, max_value=10**9))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_units(count: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{count}{unit[0]}") == parse_duration(f"{count} {unit[0].upper()}") == count * unit[1]


# -- the table of methods


def test_every_literal_of_the_hub_strategy_is_taken() -> None:
    for strategy in get_args(names.HubStrategy):
        assert sft(hub_strategy=strategy).output.hub_strategy == strategy


def test_methods_are_specs() -> None:
    assert {name: spec.METHOD.name for name, spec in METHODS.items()} == {name: name for name in METHODS}
    assert all(issubclass(spec, TrainSpec) for spec in METHODS.values())
    assert len(METHODS) == len(list(METHODS))
    with pytest.raises(KeyError):
        METHODS["ppo"]
