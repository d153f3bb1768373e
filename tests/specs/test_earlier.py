"""Files and command lines for earlier TRL say what they said; Python is refused with today's word."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

import hfjobs_trainer as hft
from hfjobs_trainer.specs import earlier, names
from hfjobs_trainer.specs.notes import LEFT_OUT
from tests.specs.building import required

TRL = {"model_name_or_path": "m/m", "dataset_name": "a/b"}


def load(folder: Path, method: str, **words: Any) -> Any:
    more = {"reward_funcs": ["accuracy_reward"]} if "reward_funcs" in required(method) else {}
    file = folder / f"{method}.yaml"
    file.write_text(yaml.safe_dump({**TRL, **more, **words}), "utf-8")
    return hft.load(file)


def refused(folder: Path, method: str, **words: Any) -> dict[str, str]:
    with pytest.raises(hft.SpecError) as caught:
        load(folder, method, **words)
    return {problem.path: problem.code for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("method", "words", "fields"),
    [
        ("sft", {"warmup_ratio": 0.03}, {"warmup_steps": 0.03}),
        ("sft", {"warmup_ratio": "3e-2"}, {"warmup_steps": 0.03}),
        ("sft", {"warmup_ratio": 0.0}, {"warmup_steps": 0}),
        ("sft", {"warmup_ratio": 0.1, "warmup_steps": 50}, {"warmup_steps": 50}),
        ("sft", {"warmup_ratio": 0.1, "warmup_steps": 0}, {"warmup_steps": 0.1}),
        ("sft", {"max_seq_length": 2048}, {"max_length": 2048}),
        ("sft", {"max_seq_length": None}, {}),
        ("sft", {"evaluation_strategy": "no"}, {"eval_strategy": "no"}),
        ("sft", {"evaluation_strategy": False}, {"eval_strategy": "no"}),
        ("sft", {"overwrite_output_dir": True}, {}),
        ("sft", {"torch_dtype": "bfloat16"}, {"dtype": "bfloat16"}),
        ("sft", {"torch_dtype": None}, {}),
        ("sft", {"no_cuda": True}, {"use_cpu": True}),
        ("sft", {"model_init_kwargs": {"torch_dtype": "bfloat16"}}, {"dtype": "bfloat16"}),
        ("sft", {"hub_token": None, "parallelism_config": None, "fp16_opt_level": "O1"}, {}),
        ("sft", {"sequence_len": 2048, "num_epochs": 1}, {"max_length": 2048, "num_train_epochs": 1}),
        ("sft", {"val_set_size": 0.1, "sample_packing": True}, {"eval_fraction": 0.1, "packing": True}),
        ("sft", {"group_by_length": True}, {"train_sampling_strategy": "group_by_length"}),
        ("sft", {"group_by_length": False}, {}),
        ("sft", {"adafactor": False, "fp16_backend": "auto", "logging_dir": "logs"}, {}),
        ("sft", {"save_safetensors": True, "half_precision_backend": "auto"}, {}),
        ("sft", {"include_inputs_for_metrics": True}, {"include_for_metrics": ["inputs"]}),
        ("sft", {"push_to_hub_model_id": "me/x"}, {"output": {"hub_model_id": "me/x"}}),
        ("sft", {"split_batches": True}, {"hardware": {"accelerator_config": {"split_batches": True}}}),
        (
            "sft",
            {"gradient_checkpointing_use_reentrant": False},
            {"gradient_checkpointing_kwargs": {"use_reentrant": False}},
        ),
        ("sft", {"packing_strategy": "ffd"}, {"packing_strategy": "bfd"}),
        ("sft", {"packing_strategy": "bfd-requeue"}, {"packing_strategy": "bfd_split"}),
        ("sft", {"loss_type": "chunked_nll"}, {"loss_type": "nll"}),
        ("sft", {"chars_per_token": 3.6, "dataset_batch_size": 1000}, {}),
        ("sft", {"do_train": True, "do_predict": False, "disable_tqdm": False, "local_rank": -1}, {}),
        ("sft", {"report_to": "all"}, {}),
        ("sft", {"per_gpu_train_batch_size": 4}, {"per_device_train_batch_size": 4}),
        ("dpo", {"max_length": 1024, "max_prompt_length": 512}, {"max_length": 1024}),
        ("dpo", {"max_prompt_length": 512, "max_completion_length": None}, {}),
        ("dpo", {"loss_type": "aot_pair"}, {"loss_type": ["aot"]}),
        ("dpo", {"rpo_alpha": 0.5}, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}),
        ("dpo", {"rpo_alpha": None, "reference_free": False, "label_pad_token_id": -100}, {}),
        ("dpo", {"use_logits_to_keep": True, "padding_value": 0, "use_liger_loss": True}, {}),
        ("kto", {"truncation_mode": "keep_start", "generate_during_eval": False}, {}),
        ("cpo", {"max_prompt_length": 256}, {}),
        ("grpo", {"max_prompt_length": 512, "vllm_device": "auto", "vllm_dtype": "auto"}, {}),
        ("grpo", {"vllm_max_model_len": 4096}, {"vllm_max_model_length": 4096}),
        ("grpo", {"wandb_log_unique_prompts": True}, {"log_unique_prompts": True}),
        ("rloo", {"rloo_k": 4, "kl_coef": 0.1, "cliprange": 0.3}, {"num_generations": 4, "beta": 0.1, "epsilon": 0.3}),
        ("rloo", {"reward_clip_range": 10.0}, {"reward_clip_range": [-10.0, 10.0]}),
        ("rloo", {"token_level_kl": False, "num_sample_generations": 10, "stop_token": "eos"}, {}),
        ("rloo", {"sft_model_path": "m/m"}, {}),
        ("rloo", {"response_length": 53}, {"max_completion_length": 53}),
    ],
)
def test_a_word_is_taken_for_what_it_means_today(
    method: str, words: dict[str, Any], fields: dict[str, Any], tmp_path: Path
) -> None:
    spec = load(tmp_path, method, **words)
    assert spec == load(tmp_path, method, **fields)
    said = {note.word for note in spec.notes}
    changed = {name for name, value in words.items() if value is not None and fields.get(name, ...) != value}
    assert changed - {"evaluation_strategy", "torch_dtype", "warmup_steps"} <= said
    # each is in the plan, and none is part of what the spec is
    decided = {decision.path for decision in hft.plan(spec, offline=True).decisions}
    assert {note.path for note in spec.notes} <= decided


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("sft", {"warmup_ratio": 1.5}),
        ("sft", {"batch_size": 4}),
        ("sft", {"micro_batch_size": 2}),
        ("sft", {"template": "llama3"}),
        ("sft", {"adapter": "lora"}),
        ("rloo", {"missing_eos_penalty": 1.0}),
        ("sft", {"max_seq_length": 2048, "max_length": 1024}),
        ("sft", {"push_to_hub_organization": "org"}),
        ("dpo", {"reference_free": True}),
        ("dpo", {"label_pad_token_id": 0}),
        ("dpo", {"rpo_alpha": 1.0, "loss_type": "ipo"}),
        ("kto", {"truncation_mode": "keep_end"}),
        ("grpo", {"max_seq_length": 512}),
        ("grpo", {"total_episodes": 1000}),
        ("rloo", {"num_mini_batches": 2}),
        ("grpo", {"judge": "pair_rm"}),
    ],
)
def test_what_has_no_exact_meaning_stays_a_problem(method: str, words: dict[str, Any], tmp_path: Path) -> None:
    assert refused(tmp_path, method, **words).keys() & words.keys()


def test_a_number_on_a_command_line_is_text() -> None:
    run = "--model_name_or_path m/m --dataset_name a/b"
    spec = hft.load(f"trl dpo {run} --label_pad_token_id -100")
    assert "label_pad_token_id" in {note.word for note in spec.notes}
    command = f"python examples/scripts/distillation.py {run} --teacher_model_name_or_path t/t --lmbda"
    assert "lmbda" in {note.word for note in hft.load(f"{command} 1.0").notes}
    with pytest.raises(hft.SpecError):
        hft.load(f"{command} 0.5")


def test_hub_tokens_are_refused_in_files_too(tmp_path: Path) -> None:
    assert refused(tmp_path, "sft", hub_token="x", warmup_ratio=0.1) == {"hub_token": "SPEC006"}


def test_a_repository_without_a_namespace_is_the_accounts(tmp_path: Path) -> None:
    spec = load(tmp_path, "sft", hub_model_id="my-model", output_dir="data/run")
    assert spec.output == hft.Output(push_to_hub=True)
    assert spec.output_dir == "data/my-model"
    spec = load(tmp_path, "sft", hub_model_id="my-model", push_to_hub=False)
    assert (spec.output_dir, spec.output.pushes) == ("my-model", False)


def test_notes_are_no_part_of_a_spec(tmp_path: Path) -> None:
    spec, plain = load(tmp_path, "sft", warmup_ratio=0.1), load(tmp_path, "sft", warmup_steps=0.1)
    assert (spec, spec.digest, spec.to_json()) == (plain, plain.digest, plain.to_json())
    assert plain.notes == ()
    assert [note.path for note in spec.notes] == ["warmup_steps", "defaults"]
    assert pickle.loads(pickle.dumps(spec)).notes == spec.notes
    assert spec.replace(seed=1).notes == spec.notes
    assert [note.path for note in spec.replace(warmup_steps=5).notes] == ["defaults"]
    shown = str(hft.plan(spec, offline=True))
    assert "warmup_steps" in shown
    assert "warmup_ratio: 0.1; a number below 1 is a share" in shown
    script = tmp_path / "script.py"
    script.write_text(hft.plan(spec, offline=True).script, "utf-8")
    assert (hft.load(script), hft.load(script).notes) == (plain, ())


def test_changed_defaults_are_told_where_a_file_is_for_an_earlier_trl(tmp_path: Path) -> None:
    def told(method: str, **words: Any) -> str:
        return next((note.why for note in load(tmp_path, method, **words).notes if note.path == "defaults"), "")

    why = told("grpo", warmup_ratio=0.1, logging_steps=1, use_vllm=True)
    assert "beta (0.04 before TRL 0.19, now 0.0)" in why
    assert "vllm_mode ('server' before TRL 1.0, now 'colocate')" in why
    assert "logging_steps" not in why
    assert "beta" not in told("grpo", warmup_ratio=0.1, beta=0.04)
    assert "vllm_mode" not in told("grpo", warmup_ratio=0.1)
    assert "packing_strategy" in told("sft", warmup_ratio=0.1, packing=True)
    assert "bf16" not in told("sft", warmup_ratio=0.1, fp16=True)
    # words that were never TRL's tell nothing, nor do files of today
    assert told("sft", lr=1e-5, wandb_project="p") == ""
    assert told("sft", warmup_steps=0.1) == ""


@pytest.mark.parametrize("method", hft.METHODS)
def test_former_defaults_are_of_fields_and_differ(method: str) -> None:
    spec = hft.METHODS[method]
    for name, (then, version) in {**names.FORMER_DEFAULTS, **spec.FORMER_DEFAULTS}.items():
        assert name in spec.model_fields
        assert then != spec.model_fields[name].default
        assert tuple(map(int, version.split("."))) <= tuple(map(int, spec.TRL_VERSION.split(".")[:2]))


def test_strict_refuses_each_note(tmp_path: Path) -> None:
    file = tmp_path / "sft.yaml"
    file.write_text(yaml.safe_dump({**TRL, "warmup_ratio": 0.1, "overwrite_output_dir": True}), "utf-8")
    with pytest.raises(hft.SpecError) as caught:
        hft.load(file, strict=True)
    found = {problem.path: (problem.code, problem.fix) for problem in caught.value.problems}
    assert found == {
        "warmup_ratio": ("LOAD007", "warmup_steps=0.1"),
        "overwrite_output_dir": ("LOAD007", ""),
        "defaults": ("LOAD007", ""),
    }
    file.write_text(yaml.safe_dump({**TRL, "warmup_steps": 0.1}), "utf-8")
    assert hft.load(file, strict=True) == hft.load(file)


def test_fields_take_precedence(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    words = {**TRL, "warmup_ratio": 0.1, "eval_strategy": "steps", "push_to_hub": True, "dataset_config": "c"}
    file.write_text(yaml.safe_dump({**words, "output_dir": "data/m-SFT"}), "utf-8")
    spec = hft.load(file, dataset="c/d", warmup_steps=3, model="o/o", output=hft.Output(hub_model_id="me/x"))
    assert spec == hft.SFT(
        model="o/o",
        dataset="c/d",
        eval_dataset={"id": "c/d", "split": "test"},
        eval_strategy="steps",
        warmup_steps=3,
        output_dir="data/m-SFT",
        output={"hub_model_id": "me/x"},
    )
    # the method is a guess, which is told
    assert [(note.path, note.value) for note in spec.notes][:1] == [("method", "sft")]
    assert (
        hft.load(file, eval_strategy=None, warmup_ratio=None)
        .to_dict()
        .keys()
        .isdisjoint({"eval_strategy", "eval_dataset", "warmup_steps"})
    )


def test_the_method_of_a_file_is_its_folders(tmp_path: Path) -> None:
    folder = tmp_path / "recipes" / "dpo"
    folder.mkdir(parents=True)
    (folder / "config_full.yaml").write_text(yaml.safe_dump(TRL), "utf-8")
    assert isinstance(hft.load(folder / "config_full.yaml"), hft.DPO)


@pytest.mark.parametrize("name", ["warmup_ratio", "max_seq_length", "overwrite_output_dir", "evaluation_strategy"])
def test_python_is_refused_with_todays_name(name: str) -> None:
    with pytest.raises(hft.SpecError) as caught:
        hft.METHODS["sft"](**{"model": "m/m", "dataset": "a/b", name: 0.1})
    assert [problem.code for problem in caught.value.problems] == ["SPEC005"]


def test_a_token_is_not_noted() -> None:
    token = f"hf_{'a' * 34}"
    _, notes = earlier.translate(hft.SFT, {"past_index": token, "logging_dir": token})
    assert token not in str(notes)
    assert [note.value for note in notes][:2] == [LEFT_OUT, LEFT_OUT]
