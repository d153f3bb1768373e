"""Names that are no fields: misspelt, renamed, refused, folded into a group."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.names import COMMON_RENAMES
from hfjobs_trainer.specs.registry import METHODS
from tests.specs.building import problems_of, sft

# -- names


@pytest.mark.parametrize(
    ("method", "typed", "meant"),
    [
        ("dpo", "betta", "beta"),
        ("sft", "learning_rat", "learning_rate"),
        ("sft", "hub_model", "hub_model_id"),
        ("sft", "pakcing", "packing"),
        ("grpo", "num_iteration", "num_iterations"),
        ("sft", "zzz", ""),
        # a name that is only like it, and of another type
        ("dpo", "sync_model", ""),
    ],
)
def test_typos_have_a_suggestion(method: str, typed: str, meant: str) -> None:
    problem = problems_of(method, **{typed: 1})[typed]
    assert problem.code == "SPEC004"
    assert problem.why.endswith(f"; {meant} is" if meant else "(TRL 1.16.0)")
    # a value that the field does not take is not proposed for it
    assert problem.fix == ("" if meant in ("", "hub_model_id", "packing") else f"{meant}=1")


def renames(method: str) -> dict[str, names.Today]:
    former, fields = METHODS[method].FORMER_NAMES, METHODS[method].model_fields
    # what others call an old name, a method may still take
    common: list[str] = [name for name in COMMON_RENAMES if name not in fields]
    found = {name: names.renamed(former, name) for name in (*common, *former)}
    return {name: today for name, today in found.items() if today is not None}


@pytest.mark.parametrize("method", METHODS)
def test_old_names_are_refused_with_todays(method: str) -> None:
    spec, told = METHODS[method], dict[str, bool]()
    for old, new in renames(method).items():
        assert old not in spec.model_fields
        assert old not in names.FOLDED
        problem = problems_of(method, **{old: 1})[old]
        says = f"it is {new.path} today" if new.path else new.note
        told[old] = problem.code == "SPEC005" and says in problem.why and bool(new.path or not problem.fix)
    assert [old for old, right in told.items() if not right] == []


# What a script gives each trainer itself.
GIVEN = {"model", "train_dataset", "eval_dataset", "reward_funcs", "teacher_model", "reward_model", "value_model"}


@pytest.mark.parametrize("method", METHODS)
def test_no_argument_of_a_trainer_is_missing(method: str) -> None:
    spec = METHODS[method]
    assert set(spec.TRAINER_ARGUMENTS) >= {"args", "train_dataset", "processing_class", "callbacks"}
    for name in spec.TRAINER_ARGUMENTS:
        if name in spec.model_fields:
            continue
        problem = problems_of(method, **{name: object()})[name]
        if name in names.TRAINER:
            assert problem.code == "SPEC006", name
            assert problem.why == (
                f"an argument of {spec.METHOD.trainer} that a spec does not take: {names.TRAINER[name]}"
            )
        else:
            # under another name here, or made by the script
            assert problem.code == "SPEC005" or name in GIVEN, name


@pytest.mark.parametrize("method", METHODS)
def test_todays_names_exist(method: str) -> None:
    todays = {new.path.split(".")[0] for new in renames(method).values() if new.path}
    assert todays
    assert todays <= METHODS[method].model_fields.keys() | names.FOLDED.keys()


@pytest.mark.parametrize("method", METHODS)
def test_refused_names_say_why(method: str) -> None:
    problems = {name: problems_of(method, **{name: 1})[name] for name in names.REFUSED}
    assert {problem.code for problem in problems.values()} == {"SPEC006"}
    assert {name: (problem.why, problem.fix) for name, problem in problems.items()} == names.REFUSED


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
    why = f"{group}.{key} is given as well, with another value: give one of them"
    assert (problem.code, problem.why, problem.fix) == ("SPEC007", why, "")


@pytest.mark.parametrize("group", [{"flavor": "a10g-large"}, hft.Hardware(flavor="a10g-large"), "a10g-large"])
def test_flat_names_join_a_group_however_it_is_written(group: Any) -> None:
    spec = sft(hardware=group, fsdp=True)
    assert spec.hardware == hft.Hardware(flavor="a10g-large", fsdp=True)


@pytest.mark.parametrize(
    ("key", "field"), [item for item in names.FOLDED_MODEL_INIT.items() if item[0] != "quantization_config"]
)
def test_model_init_kwargs_are_folded(key: str, field: str) -> None:
    value = "bfloat16" if key == "dtype" else "x"
    spec = sft(model_init_kwargs={key: value, "use_cache": False})
    assert spec == sft(**{field: value, "model_init_kwargs": {"use_cache": False}})
    assert sft(model_init_kwargs={key: value}) == sft(**{field: value})
    other = "float16" if key == "dtype" else "y"
    found = problems_of("sft", **{field: other, "model_init_kwargs": {key: value}})
    assert found[f"model_init_kwargs.{key}"].code == "SPEC007"


@pytest.mark.parametrize(
    ("options", "quantization"),
    [
        ({"load_in_8bit": True}, "8bit"),
        ({"load_in_8bit": True, "llm_int8_threshold": 6.0, "llm_int8_skip_modules": None}, {"bits": "8bit"}),
        (
            {"load_in_4bit": True},
            {"bits": "4bit", "quant_type": "fp4", "use_double_quant": False, "compute_dtype": "float32"},
        ),
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16"},
            hft.Quantization(bits="4bit", quant_type="nf4", use_double_quant=False, compute_dtype="bfloat16"),
        ),
    ],
)
def test_options_of_bitsandbytes_are_folded(options: dict[str, Any], quantization: Any) -> None:
    inside: dict[str, Any] = {"lora": {}, "model_init_kwargs": {"quantization_config": options}}
    spec = sft(**inside)
    assert spec == sft(lora={}, quantization=quantization) == sft(**inside, quantization=quantization)
    assert "model_init_kwargs" not in spec.to_dict()
    other = "8bit" if "load_in_4bit" in options else "4bit"
    found = problems_of("sft", **inside, quantization=other)
    assert found["model_init_kwargs.quantization_config"].code == "SPEC007"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"load_in_8bit": True, "llm_int8_threshold": 1.0, "llm_int8_skip_modules": ["lm_head"]}, "SPEC006",
         ["llm_int8_threshold, llm_int8_skip_modules"]),
        ({"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}, "SPEC006", ["bnb_4bit_quant_storage"]),
        ({"load_in_4bit": True, "load_in_8bit": True}, "SPEC003", ["one of load_in_4bit and load_in_8bit"]),
        ({"quant_method": "mxfp4", "dequantize": True}, "SPEC003", ["only bitsandbytes"]),
        ("4bit", "SPEC003", ["only bitsandbytes"]),
    ],
)  # fmt: skip
def test_options_of_bitsandbytes_that_a_spec_lacks(options: Any, code: str, words: list[str]) -> None:
    found = problems_of("sft", model_init_kwargs={"quantization_config": options})
    problem = found["model_init_kwargs.quantization_config"]
    assert problem.code == code
    assert [word for word in words if word not in problem.why] == []


def test_report_to_takes_a_list_of_one() -> None:
    assert sft(report_to=["trackio"]) == sft(report_to="trackio")
    assert problems_of("sft", report_to=["trackio", "wandb"])["tracking.report_to"].code == "SPEC003"


def test_a_group_of_the_wrong_type_is_one_problem() -> None:
    found = problems_of("sft", output=3, hub_model_id="me/x")
    assert [(problem.code, problem.path) for problem in found.values()] == [("SPEC003", "output")]
