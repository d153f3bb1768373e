"""The generated arguments against the installed TRL: names, defaults, and what each side takes or refuses."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from hfjobs_trainer.codegen import __main__ as codegen
from hfjobs_trainer.codegen import trl_args, trl_families, trl_tables
from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.specs.args_base import TRLArgs
from hfjobs_trainer.specs.trl_args import common
from hfjobs_trainer.specs.trl_args.ppo import PPOArgs
from hfjobs_trainer.specs.trl_args.sft import SFTArgs

CONFIGS = trl_args.configs()
CLASSES: dict[str, type[TRLArgs]] = {
    method: getattr(
        importlib.import_module(f"hfjobs_trainer.specs.trl_args.{method}"),
        source.arguments,
    )
    for method, source in CONFIGS.items()
}
# Those whose config is in the TRL that is installed here.
METHODS = [method for method, source in CONFIGS.items() if source.family == "default"]

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning"
)  # TRL's own default is one that Transformers deprecates


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Any]:
    """A function that builds the real config of a method for this CPU."""

    def build(method: str, **arguments: Any) -> Any:
        cpu = {"use_cpu": True, "bf16": False, "output_dir": str(tmp_path), "report_to": "none"}
        return trl_args.config_class(method)(**cpu | arguments)

    return build


# -- the generated files


@pytest.mark.torch
def test_committed_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert codegen.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.torch
@pytest.mark.parametrize("method", METHODS)
def test_every_argument_is_generated_or_left_out(method: str) -> None:
    trl = {field.name for field in dataclasses.fields(trl_args.config_class(method))}
    generated = set(CLASSES[method].model_fields)
    left_out = trl_tables.left_out(CONFIGS[method].config)
    assert trl >= left_out
    assert generated == trl - left_out


@pytest.mark.torch
@pytest.mark.parametrize("method", METHODS)
def test_every_default_is_trls(method: str) -> None:
    for field in dataclasses.fields(trl_args.config_class(method)):
        if field.name in trl_tables.left_out(CONFIGS[method].config):
            continue
        made = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        ours = CLASSES[method].model_fields[field.name]
        assert ours.get_default(call_default_factory=True) == default, field.name
        assert (ours.default_factory is not None) == made, field.name


@pytest.mark.parametrize("method", sorted(CLASSES))
def test_every_default_is_valid_and_described(method: str) -> None:
    defaults = CLASSES[method]().model_dump()
    assert CLASSES[method](**defaults).model_dump() == defaults
    for name, field in CLASSES[method].model_fields.items():
        assert field.description, name
        assert len(field.description) <= trl_args.DOC_LENGTH, name


@pytest.mark.torch
def test_the_arguments_of_ppo_are_those_of_its_own_trl() -> None:
    read = trl_families.config_elsewhere("ppo")
    assert set(PPOArgs.model_fields) == (read.fields - trl_tables.left_out("PPOConfig")) | trl_tables.LOADING
    assert not read.fields & trl_tables.LOADING
    assert {"kl_coef", "response_length", "total_episodes"} <= read.arguments.keys()
    assert "TRL 1.12.0" in inspect.getsource(importlib.import_module(PPOArgs.__module__)).splitlines()[0]


@pytest.mark.torch
@pytest.mark.parametrize("method", METHODS)
def test_every_argument_of_the_trainer_is_known(method: str) -> None:
    assert trl_args.trainer_arguments_of(method) == CLASSES[method].TRAINER_ARGUMENTS


def test_another_family_than_the_pinned_one_is_refused() -> None:
    with pytest.raises(HFTError, match=re.escape("reads the pinned trl 1.12.0, but 1.16.0 is installed")):
        trl_families.read("ppo")


@pytest.mark.torch
def test_aliases_hold_the_values_of_the_enums() -> None:
    from transformers import debug_utils, trainer_utils, training_args

    for name in trl_args.ENUMS:
        module = next(m for m in (trainer_utils, training_args, debug_utils) if hasattr(m, name))
        enum: type[Enum] = getattr(module, name)
        assert list(get_args(getattr(common, name))) == [member.value for member in enum]


# -- the check


def test_an_edited_file_is_reported_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"package/a.py": "x = 1\n", "package/b.py": "y = 1\n"}
    assert codegen.write(files, tmp_path) == 2
    assert codegen.report(files, tmp_path) == 0
    (tmp_path / "package/a.py").write_text("x = 2\n")
    capsys.readouterr()
    assert codegen.report(files, tmp_path) == 1
    diff = capsys.readouterr().out.splitlines()
    assert diff[0].startswith("--- package/a.py")
    assert {"-x = 2", "+x = 1"} <= set(diff)
    assert codegen.write(files, tmp_path) == 1
    assert (tmp_path / "package/a.py").read_text() == "x = 1\n"


def test_a_missing_file_is_reported_even_if_it_should_be_empty(tmp_path: Path) -> None:
    assert codegen.report({"empty.py": ""}, tmp_path) == 1


def test_a_file_that_nothing_generates_is_stale(tmp_path: Path) -> None:
    folder = tmp_path / trl_args.FOLDER
    folder.mkdir(parents=True)
    (folder / "orpo.py").touch()
    (folder / "sft.py").touch()
    assert codegen.stale_files({f"{trl_args.FOLDER}/sft.py": ""}, tmp_path) == [f"{trl_args.FOLDER}/orpo.py"]


def test_another_trl_than_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl_args.metadata, "version", lambda _package: "0.9.0")
    with pytest.raises(HFTError, match=re.escape("reads the pinned trl 1.16.0, but 0.9.0 is installed")):
        trl_args.generate()


@pytest.mark.torch
def test_two_methods_may_share_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = '@method("nca", label="NCA", trainer="NCATrainer", config="DPOConfig")\nclass NCA(NCAArgs): ...\n'
    (tmp_path / "nca.py").write_text(registered)
    monkeypatch.setattr(trl_args, "METHOD_FILES", tmp_path)
    source = trl_args.configs()["nca"]
    assert (source.arguments, source.config) == ("NCAArgs", "DPOConfig")
    arguments = trl_args.arguments_of("nca")
    monkeypatch.undo()
    assert arguments == trl_args.arguments_of("dpo")
    assert "DPOLoss" in arguments["loss_type"].annotation


def test_a_name_that_is_not_generated_is_told() -> None:
    def generator() -> dict[str, str]:
        importlib.import_module("hfjobs_trainer.specs.trl_args.other")
        return {}

    with pytest.raises(HFTError, match=r"trl_args\.other'\. What is generated for a class X in .* is XArgs"):
        codegen.made_by(generator)


@pytest.mark.torch
def test_an_argument_that_trl_dropped_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl_tables, "LEFT_OUT", trl_tables.LEFT_OUT | {"overwrite_output_dir"})
    with pytest.raises(HFTError, match="SFTConfig has no overwrite_output_dir anymore"):
        trl_args.arguments_of("sft")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Random seed. Set it early.", "Random seed."),
        ("The [KL](https://example.org/kl) weight β", "The KL weight beta."),
        ("Deprecated. Use `x` instead. It goes in v2.", "Deprecated. Use `x` instead."),
        (f"Number of steps between two saves, unless {'very ' * 20}often.", "Number of steps between two saves."),
    ],
)
def test_descriptions_are_first_sentences_or_clauses(text: str, short: str) -> None:
    assert trl_args.shorten(text) == short


def test_a_sentence_without_a_short_clause_needs_a_description() -> None:
    with pytest.raises(HFTError, match=re.escape("trl_tables.DOCS")):
        trl_args.shorten("word " * 40)


# -- what our side takes


@pytest.mark.torch
@pytest.mark.parametrize(
    ("method", "given", "stored"),
    [
        ("dpo", {"loss_type": "ipo"}, {"loss_type": ["ipo"]}),
        ("dpo", {"loss_type": ["sigmoid", "sft"]}, {"loss_type": ["sigmoid", "sft"]}),
        ("grpo", {"scale_rewards": False}, {"scale_rewards": "none"}),
        ("grpo", {"scale_rewards": True}, {"scale_rewards": "group"}),
        ("grpo", {"scale_rewards": "batch"}, {"scale_rewards": "batch"}),
        ("sft", {"include_num_input_tokens_seen": True}, {"include_num_input_tokens_seen": "all"}),
        ("sft", {"include_num_input_tokens_seen": False}, {"include_num_input_tokens_seen": "no"}),
        ("sft", {"pad_to_multiple_of": 8}, {"pad_to_multiple_of": 8}),
        ("sft", {"pad_to_multiple_of": None}, {"pad_to_multiple_of": None}),
        ("sft", {"debug": ["underflow_overflow"]}, {"debug": ["underflow_overflow"]}),
        ("sft", {"eval_steps": 0.25, "warmup_steps": 10.0}, {"eval_steps": 0.25, "warmup_steps": 10}),
        ("sft", {"learning_rate": 1}, {"learning_rate": 1.0}),
        ("online_dpo", {"beta": 0.2}, {"beta": [0.2]}),
    ],
)
def test_shorthands_have_one_normal_form_and_trl_takes_both(
    configure: Callable[..., Any], method: str, given: dict[str, Any], stored: dict[str, Any]
) -> None:
    ours = CLASSES[method](**given).model_dump(exclude_unset=True)
    assert ours == stored
    assert {name: type(value) for name, value in ours.items()} == {name: type(value) for name, value in stored.items()}
    as_given, normal = configure(method, **given), configure(method, **stored)
    for name in given:
        assert getattr(as_given, name) == getattr(normal, name)


def test_a_pair_may_be_a_tuple() -> None:
    ours = CLASSES["rloo"](reward_clip_range=(-1.0, 1.0))
    assert ours.model_dump(exclude_unset=True) == {"reward_clip_range": [-1.0, 1.0]}


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("dpo", {"loss_type": "simpo"}),
        ("dpo", {"loss_type": ["sigmoid", "simpo"]}),
        ("dpo", {"loss_type": []}),
        ("dpo", {"f_divergence_type": "chi2"}),
        ("dpo", {"betta": 0.1}),
        ("grpo", {"loss_type": "ppo"}),
        ("grpo", {"scale_rewards": "std"}),
        ("grpo", {"num_generations": None}),
        ("grpo", {"vllm_mode": "remote"}),
        ("sft", {"packing_strategy": "ffd"}),
        ("sft", {"pad_to_multiple_of": "8"}),
        ("sft", {"pad_to_multiple_of": 0}),
        ("sft", {"learning_rate": "2e-5"}),
        ("sft", {"packing": 1}),
        ("sft", {"max_length": 512.0}),
        ("sft", {"logging_steps": True}),
        ("sft", {"lr_scheduler_type": "cosin"}),
        ("sft", {"hub_token": "x"}),
        ("cpo", {"loss_type": "kto"}),
        ("gkd", {"lmbda": 1.5}),
        ("gkd", {"beta": -0.1}),
        ("kto", {"loss_type": "bco"}),
        ("online_dpo", {"loss_type": "hinge"}),
        ("online_dpo", {"beta": []}),
        ("ppo", {"num_mini_batches": 0}),
        ("rloo", {"reward_clip_range": [1.0]}),
    ],
)
def test_what_is_refused(method: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CLASSES[method](**given)


# -- what TRL's side takes


@pytest.mark.torch
@pytest.mark.parametrize("field", ["lr_scheduler_type", "optim", "log_level", "train_sampling_strategy"])
def test_trl_builds_a_config_with_every_name(configure: Callable[..., Any], field: str) -> None:
    names = get_args(SFTArgs.model_fields[field].annotation)
    assert len(names) >= 3
    for name in names:
        evaluates = "steps" if name in ("reduce_lr_on_plateau", "greedy") else "no"
        assert getattr(configure("sft", eval_strategy=evaluates, **{field: name}), field) == name


@pytest.mark.torch
def test_vllm_names_are_those_that_trl_compares_with() -> None:
    from trl.trainer import grpo_trainer

    source = inspect.getsource(grpo_trainer)
    for mode in trl_tables.IS_MODES:
        assert f'"{mode}"' in source
